/** More and more workers on engines that take a fixed time: how many can one queue keep busy on this machine? */
import type { Redis } from "ioredis";
import { round } from "../engine/measure.ts";
import { readUsage } from "./throughput.ts";
import type { Whole } from "./whole.ts";

const slotsEach = 8;
const jobMs = 200;

export type FleetRow = {
  workers: number;
  jobsPerS: number;
  ideal: number;
  efficiency: number;
  /** Those of workers that look for jobs and find none included. */
  scriptsPerJob: number;
  redisUsPerJob: number;
};

/** Each size has as many askers as it has slots, and a quarter more, for `forS` seconds. */
export async function measureFleet(
  whole: Whole,
  redis: Redis,
  sizes: number[],
  forS: number,
): Promise<FleetRow[]> {
  whole.take(jobMs);
  const rows: FleetRow[] = [];
  for (const workers of sizes) {
    await whole.hire(workers, slotsEach);
    const before = await readUsage(redis);
    const { jobsPerS, jobs } = await saturate(
      whole.ask,
      Math.ceil(workers * slotsEach * 1.25),
      forS,
    );
    const after = await readUsage(redis);
    const ideal = (workers * slotsEach * 1_000) / jobMs;
    rows.push({
      workers,
      jobsPerS: round(jobsPerS, 0),
      ideal,
      efficiency: round(jobsPerS / ideal, 2),
      scriptsPerJob: round((after.scripts - before.scripts) / jobs, 1),
      redisUsPerJob: round((after.cpuUs - before.cpuUs) / jobs, 0),
    });
  }
  return rows;
}

/** Answers a second, counted once all have begun to ask; and all answers. */
async function saturate(
  ask: () => Promise<void>,
  askers: number,
  forS: number,
): Promise<{ jobsPerS: number; jobs: number }> {
  const from = performance.now() + 1_000;
  const until = from + forS * 1_000;
  let jobs = 0;
  let counted = 0;
  const one = async () => {
    while (performance.now() < until) {
      await ask();
      const now = performance.now();
      jobs++;
      if (now >= from && now < until) counted++;
    }
  };
  await Promise.all(Array.from({ length: askers }, one));
  return { jobsPerS: counted / forS, jobs };
}
