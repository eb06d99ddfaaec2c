// Bugs planted into the running system on purpose: each must be found, and nothing must be found without one.
import { expect, test, vi } from "vitest";
import { storm } from "./storm.ts";

vi.setConfig({ testTimeout: 60_000 });

const calm = (plant: string) =>
  storm({
    jobs: 24,
    seed: 1,
    calm: true,
    apis: 1,
    workers: 1,
    settleMs: 5_000,
    env: { PLANT: plant },
  });

test("without a bug and without a fault nothing is found", async () => {
  const { lost, duplicated, stuck, gaps, unexpected, acknowledged } = await calm("");
  expect({ lost, duplicated, stuck, gaps, unexpected }).toEqual({
    lost: [],
    duplicated: [],
    stuck: [],
    gaps: [],
    unexpected: [],
  });
  expect(acknowledged).toBe(24);
});

test("a lost write is found", async () => {
  expect((await calm("lose finish")).lost).not.toEqual([]);
});

test("a double commit is found", async () => {
  expect((await calm("repeat finish")).duplicated).not.toEqual([]);
});

test("a swallowed event is found, in the log or in what was read of it", async () => {
  expect((await calm("swallow append")).gaps).not.toEqual([]);
});
