/** Jobs a second of the three, in turns, and what Redis does for each job. */
import type { Redis } from "ioredis";
import { median, round, seconds } from "../engine/measure.ts";
import type { System } from "./systems.ts";

export type Throughput = {
  jobsPerS: number;
  /** Redis's main thread, its network included. */
  redisUsPerJob: number;
  /** Those inside scripts included. */
  commandsPerJob: number;
  scriptsPerJob: number;
};

/** Medians over the rounds, after one to warm up; each round of each system has `jobs` jobs. */
export async function measureThroughput<Name extends string>(
  systems: Record<Name, { system: System; jobs: number }>,
  redis: Redis,
  rounds: number,
): Promise<Record<Name, Throughput>> {
  const names = Object.keys(systems) as Name[];
  const measured = new Map<Name, Throughput[]>(names.map((name) => [name, []]));
  for (let i = -1; i < rounds; i++) {
    for (const name of names) {
      const { system, jobs } = systems[name];
      const before = await readUsage(redis);
      const s = await seconds(() => system.run(jobs));
      const after = await readUsage(redis);
      if (i < 0) continue;
      measured.get(name)!.push({
        jobsPerS: jobs / s,
        redisUsPerJob: (after.cpuUs - before.cpuUs) / jobs,
        commandsPerJob: (after.commands - before.commands) / jobs,
        scriptsPerJob: (after.scripts - before.scripts) / jobs,
      });
    }
  }
  const entries = names.map((name) => [name, medians(measured.get(name)!)]);
  return Object.fromEntries(entries) as Record<Name, Throughput>;
}

function medians(runs: Throughput[]): Throughput {
  const of = (name: keyof Throughput, digits: number) =>
    round(median(runs.map((run) => run[name])), digits);
  return {
    jobsPerS: of("jobsPerS", 0),
    redisUsPerJob: of("redisUsPerJob", 1),
    commandsPerJob: of("commandsPerJob", 1),
    scriptsPerJob: of("scriptsPerJob", 2),
  };
}

/** What Redis has done so far. */
export async function readUsage(redis: Redis) {
  const text = await redis.info("cpu", "commandstats");
  const sum = (pattern: RegExp) =>
    [...text.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
  return {
    cpuUs: 1e6 * sum(/^used_cpu_(?:sys|user)_main_thread:([\d.]+)/gm),
    commands: sum(/^cmdstat_\S+?:calls=(\d+)/gm),
    scripts: sum(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm),
  };
}
