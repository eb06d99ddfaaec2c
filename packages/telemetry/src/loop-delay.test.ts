import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { watchLoopDelay } from "./loop-delay.ts";

test("a blocked event loop shows", async () => {
  const delay = watchLoopDelay();
  await sleep(50);
  const until = Date.now() + 120;
  while (Date.now() < until);
  await sleep(50);
  const { p50, max } = delay.read();
  delay.stop();
  expect(max).toBeGreaterThan(80);
  expect(p50).toBeLessThan(max);
});
