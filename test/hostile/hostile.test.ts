// The checker itself: it must find what is planted. Then each part, on a small scale; `pnpm test:hostile` is the large one.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { problemOf } from "@glimpse/contracts";
import { describe, expect, test, vi } from "vitest";
import { http } from "./http.ts";
import { parts } from "./parts.ts";
import type { Answer, Row } from "./rows.ts";
import { judge } from "./rows.ts";
import { runPart } from "./run.ts";
import { createTarget } from "./target.ts";

vi.setConfig({ testTimeout: 120_000 });

const size = { size: "small", seed: Date.now() % 1_000_000, mutations: 20 } as const;
console.log(`seed ${size.seed}`);

describe("an answer is found wrong", () => {
  const send = () => Promise.reject(new Error("not sent here"));
  const row: Row = { id: "I14", name: "a row", send, status: 422, code: "invalid_prompt" };
  const answer = (more: Partial<Answer> & { detail?: string } = {}): Answer => ({
    status: 422,
    headers: new Headers({ "x-request-id": "r1" }),
    body: JSON.stringify(problemOf("invalid_prompt", more.detail ?? "No.", null, "r1")),
    ...more,
  });

  test("but not when it is right", () => {
    expect(judge(row, answer())).toEqual([]);
  });
  test.each<[string, Answer, string]>([
    ["a success", answer({ status: 202 }), "answered 202"],
    ["a defect", answer({ status: 500 }), "a 5xx"],
    ["no answer", answer({ status: 0 }), "answered 0"],
    [
      "another code",
      answer({ body: JSON.stringify(problemOf("not_found", "", null, "r1")) }),
      "code not_found",
    ],
    ["no problem in the body", answer({ body: "Bad Request" }), "no problem in the body"],
    ["no request id", answer({ headers: new Headers() }), "x-request-id"],
    ["a library's name", answer({ detail: "ZodError: no" }), "says ZodError"],
    ["a path", answer({ detail: "see /root/app.ts" }), "says /root/"],
    ["a stack", answer({ body: "x\n    at f (a.js:1:2)" }), "says at f"],
    ["a parser's words", answer({ detail: "Unexpected token x" }), "Unexpected token"],
  ])("%s", (_name, wrong, words) => {
    expect(judge(row, wrong).join()).toContain(words);
  });
});

test("a server that takes everything is found out by nearly every row of HTTP", async () => {
  const careless = createServer(
    { insecureHTTPParser: true, requireHostHeader: false },
    (_, answer) => answer.end("fine"),
  );
  await new Promise<void>((resolve) => careless.listen(0, "127.0.0.1", resolve));
  const { port } = careless.address() as AddressInfo;
  const target = createTarget(`http://127.0.0.1:${port}`);
  const { rows } = await http.prepare(size);
  const hostile = rows.filter(({ status }) => status !== 200);
  const passed = [];
  for (const row of hostile)
    if (judge(row, await row.send(target)).length === 0) passed.push(row.name);
  careless.closeAllConnections();
  careless.close();
  expect(passed).toEqual(["a tunnel"]); // which Node itself closes
});

test.each(parts)("$name: every row is answered as it must be, and all live", async (part) => {
  const { lines, findings } = await runPart(part, size);
  const wrong = lines.filter((line) => line.wrong.length > 0);
  expect(findings).toEqual([]);
  expect(wrong.map(({ row, wrong: what }) => `${row.id} ${row.name}: ${what.join("; ")}`)).toEqual(
    [],
  );
  expect(lines.length).toBeGreaterThan(0);
});
