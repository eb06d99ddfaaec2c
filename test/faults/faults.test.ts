// The promises of the system while everything breaks, on a small scale; `pnpm test:faults` is the large one.
import { expect, test, vi } from "vitest";
import { cut } from "./cut.ts";
import { drain } from "./drain.ts";
import { failover } from "./failover.ts";
import { places, restart } from "./restart.ts";
import { retry } from "./retry.ts";
import { storm } from "./storm.ts";

vi.setConfig({ testTimeout: 120_000 });

const seed = Date.now() % 1_000_000;
console.log(`seed ${seed}`);
const right = { lost: [], stuck: [], duplicated: [], unexpected: [], gaps: [] };

test("no job is lost, run to two ends, stuck or told wrongly, whatever dies or is cut", async () => {
  const { faults, ...findings } = await storm({ jobs: 200, seed });
  expect(findings, JSON.stringify({ seed, faults })).toMatchObject(right);
  expect(findings.acknowledged).toBe(200);
});

test.each(places)("a worker that dies %s a step: its job is run to one end", async (place) => {
  const { findings } = await restart(place, "fleet", 1, seed);
  expect(findings).toMatchObject(right);
});

test("a client that tries again because the answer was lost has one job", async () => {
  const { jobs, findings } = await retry(40, seed);
  expect(findings).toMatchObject(right);
  expect(jobs).toBe(40);
});

test("a worker asked to stop leaves in order, and its jobs go on elsewhere at once", async () => {
  const { exits, stalled, findings } = await drain(3, 500, seed);
  expect(findings).toMatchObject(right);
  expect({ exits, stalled }).toEqual({ exits: [], stalled: 0 });
});

test("a job that a replica had to have first outlives the primary", async () => {
  const { findings } = await failover("replica", 60, 100, seed);
  expect(findings).toMatchObject(right);
});

test.each(["Redis is full", "the lines are refused", "an API's lines are silent"])(
  "%s: answers within a second and a half, and all is well again by itself",
  async (name) => {
    const { slowestMs, wrong, wellAfterMs } = await cut(name, 1_500);
    expect({ wrong, name }).toEqual({ wrong: [], name });
    expect(slowestMs).toBeLessThan(1_500);
    expect(wellAfterMs).toBeLessThan(20_000);
  },
);
