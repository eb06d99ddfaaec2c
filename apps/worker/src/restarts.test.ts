import { expect, test } from "vitest";
import { createRestarts } from "./restarts.ts";

test("the first restart is soon, later ones wait twice as long each, up to half a minute", () => {
  const restarts = createRestarts(() => 1);
  const delays = Array.from({ length: 11 }, () => restarts.died());
  expect(delays.slice(0, 4)).toEqual([100, 200, 400, 800]);
  expect(delays.slice(-2)).toEqual([30_000, 30_000]);
});

test("half of a delay is chance", () => {
  expect(createRestarts(() => 0).died()).toBe(50);
  expect(createRestarts(() => 0.5).died()).toBe(75);
});

test("what dies again and again is broken until it has done a job", () => {
  const restarts = createRestarts();
  for (let death = 0; death < 5; death++) restarts.died();
  expect(restarts.isBroken).toBe(false);
  restarts.died();
  expect(restarts.isBroken).toBe(true);
  restarts.worked();
  expect(restarts.isBroken).toBe(false);
  expect(restarts.died()).toBeLessThanOrEqual(100);
});
