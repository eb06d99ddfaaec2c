import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { createTurns } from "./turns.ts";

test("one at a time, in the order of asking", async () => {
  const turns = createTurns();
  const order: string[] = [];
  const work = async (name: string): Promise<void> => {
    const release = await turns.take();
    order.push(`${name} begins`);
    await setImmediate();
    order.push(`${name} ends`);
    release();
  };
  await Promise.all(["a", "b", "c"].map(work));
  expect(order).toEqual(["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
});

test("who gives up waiting leaves the order as it is", async () => {
  const turns = createTurns();
  const first = await turns.take();
  const quitter = new AbortController();
  const second = turns.take(quitter.signal);
  let third = false;
  const behind = turns.take().then((release) => {
    third = true;
    return release;
  });
  quitter.abort(new Error("enough"));
  await expect(second).rejects.toThrow("enough");
  await setImmediate();
  expect(third).toBe(false); // the first has not ended yet
  first();
  (await behind)();
  (await turns.take())();
  await expect(turns.take(AbortSignal.abort(new Error("before")))).rejects.toThrow("before");
  (await turns.take())();
});
