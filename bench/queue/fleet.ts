/** More and more workers on engines that take a fixed time: how many can one queue keep busy on this machine? */
import { round } from "../engine/measure.ts";
import type { Whole } from "./whole.ts";

const slotsEach = 8;
const jobMs = 200;

export type FleetRow = { workers: number; jobsPerS: number; ideal: number; efficiency: number };

/** Each size has as many askers as it has slots, and a quarter more, for `forS` seconds. */
export async function measureFleet(
  whole: Whole,
  sizes: number[],
  forS: number,
): Promise<FleetRow[]> {
  whole.take(jobMs);
  const rows: FleetRow[] = [];
  for (const workers of sizes) {
    await whole.hire(workers, slotsEach);
    const jobsPerS = await saturate(whole.ask, Math.ceil(workers * slotsEach * 1.25), forS);
    const ideal = (workers * slotsEach * 1_000) / jobMs;
    rows.push({
      workers,
      jobsPerS: round(jobsPerS, 0),
      ideal,
      efficiency: round(jobsPerS / ideal, 2),
    });
  }
  return rows;
}

/** Answers a second, counted once all have begun to ask. */
async function saturate(ask: () => Promise<void>, askers: number, forS: number): Promise<number> {
  const from = performance.now() + 1_000;
  const until = from + forS * 1_000;
  let answers = 0;
  const one = async () => {
    while (performance.now() < until) {
      await ask();
      const now = performance.now();
      if (now >= from && now < until) answers++;
    }
  };
  await Promise.all(Array.from({ length: askers }, one));
  return answers / forS;
}
