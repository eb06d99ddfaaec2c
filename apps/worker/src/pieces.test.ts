import type { LogPiece } from "@glimpse/ledger";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createPieceWriter } from "./pieces.ts";

test("the first piece goes at once, the rest in bundles, neighbours joined", async () => {
  const bundles: LogPiece[][] = [];
  const writer = createPieceWriter(
    async (pieces) => {
      bundles.push(pieces);
      return true;
    },
    50,
    () => {},
  );
  writer.write({ type: "delta", text: "a" });
  await sleep(10);
  expect(bundles).toEqual([[{ type: "delta", text: "a" }]]);
  for (const text of ["b", "c"]) writer.write({ type: "reasoning", text });
  writer.write({ type: "delta", text: "d" });
  await sleep(5);
  expect(bundles).toHaveLength(1);
  await sleep(60);
  const second = [
    { type: "reasoning", text: "bc" },
    { type: "delta", text: "d" },
  ];
  expect(bundles).toEqual([[{ type: "delta", text: "a" }], second]);
  writer.write({ type: "delta", text: "e" });
  expect(await writer.close()).toEqual([{ type: "delta", text: "e" }]);
  expect(bundles).toHaveLength(2);
});

test("a slow ledger gets one call at a time, in order", async () => {
  let calls = 0;
  let text = "";
  const writer = createPieceWriter(
    async (pieces) => {
      expect(++calls).toBe(1);
      await sleep(20);
      text += pieces.map((piece) => piece.text).join("");
      calls--;
      return true;
    },
    1,
    () => {},
  );
  for (let i = 0; i < 20; i++) {
    writer.write({ type: "delta", text: `${i},` });
    await sleep(3);
  }
  for (const piece of await writer.close()) text += piece.text;
  expect(text).toBe(Array.from({ length: 20 }, (_, i) => `${i},`).join(""));
});

test("after a refusal nothing more is written", async () => {
  let calls = 0;
  let refusals = 0;
  const writer = createPieceWriter(
    async () => {
      calls++;
      return false;
    },
    1,
    () => refusals++,
  );
  for (let i = 0; i < 5; i++) {
    writer.write({ type: "delta", text: "x" });
    await sleep(5);
  }
  expect(await writer.close()).toEqual([]);
  expect([calls, refusals]).toEqual([1, 1]);
});

test("close tells of a ledger that failed", async () => {
  const writer = createPieceWriter(
    () => Promise.reject(new Error("gone")),
    1,
    () => {},
  );
  writer.write({ type: "delta", text: "x" });
  await sleep(10);
  writer.write({ type: "delta", text: "y" });
  await expect(writer.close()).rejects.toThrow("gone");
});
