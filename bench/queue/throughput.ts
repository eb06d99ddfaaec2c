/** Jobs a second of the three, in turns, what each job costs all processes together, and what Redis does for it. */
import { readFileSync } from "node:fs";
import type { Redis } from "ioredis";
import { median, round, seconds } from "../engine/measure.ts";
import type { System } from "./systems.ts";

export type Throughput = {
  jobsPerS: number;
  /** Of the producer or client, Redis and all processes between them; NaN where there is no /proc. */
  cpuUsPerJob: number;
  /** Of that, the producer's or client's, which is this process, and those between it and Redis. */
  clientUsPerJob: number;
  apiUsPerJob: number;
  workerUsPerJob: number;
  /** Redis's main thread, its network included. */
  redisUsPerJob: number;
  /** Those inside scripts included. */
  commandsPerJob: number;
  scriptsPerJob: number;
};

/** Jobs before the first round: until then all systems pay for compiling what they run. */
const warmUpJobs = 10_000;

/** Medians over the rounds; each round of each system has `jobs` jobs. */
export async function measureThroughput<Name extends string>(
  systems: Record<Name, { system: System; jobs: number }>,
  redis: Redis,
  rounds: number,
): Promise<Record<Name, Throughput>> {
  const names = Object.keys(systems) as Name[];
  const measured = new Map<Name, Throughput[]>(names.map((name) => [name, []]));
  for (const name of names) await systems[name].system.run(warmUpJobs);
  for (let i = 0; i < rounds; i++) {
    for (const name of names) {
      const { system, jobs } = systems[name];
      const before = await readUsage(redis);
      const { api = [], worker = [] } = system.pids();
      const readAll = () => [[process.pid], api, worker, [before.pid]].map(readCpuUs);
      const cpuBefore = readAll();
      const s = await seconds(() => system.run(jobs));
      const cpuUs = readAll().map((us, i) => (us - (cpuBefore[i] ?? 0)) / jobs);
      const after = await readUsage(redis);
      measured.get(name)!.push({
        jobsPerS: jobs / s,
        cpuUsPerJob: cpuUs.reduce((sum, us) => sum + us),
        clientUsPerJob: cpuUs[0]!,
        apiUsPerJob: cpuUs[1]!,
        workerUsPerJob: cpuUs[2]!,
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
    cpuUsPerJob: of("cpuUsPerJob", 0),
    clientUsPerJob: of("clientUsPerJob", 0),
    apiUsPerJob: of("apiUsPerJob", 0),
    workerUsPerJob: of("workerUsPerJob", 0),
    redisUsPerJob: of("redisUsPerJob", 1),
    commandsPerJob: of("commandsPerJob", 1),
    scriptsPerJob: of("scriptsPerJob", 2),
  };
}

/** What Redis has done so far. */
export async function readUsage(redis: Redis) {
  const text = await redis.info("cpu", "commandstats", "server");
  const sum = (pattern: RegExp) =>
    [...text.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
  return {
    pid: sum(/^process_id:(\d+)/gm),
    cpuUs: 1e6 * sum(/^used_cpu_(?:sys|user)_main_thread:([\d.]+)/gm),
    commands: sum(/^cmdstat_\S+?:calls=(\d+)/gm),
    scripts: sum(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm),
  };
}

/** The clock of /proc ticks a hundred times a second. */
const tickUs = 10_000;

/** What the processes have used of all cores so far, Redis's other threads and Node's included. */
function readCpuUs(pids: number[]): number {
  try {
    return pids.reduce((total, pid) => {
      // The fields after the name, which may itself have spaces: utime and stime are the 14th and 15th of all.
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      return total + (Number(fields[11]) + Number(fields[12])) * tickUs;
    }, 0);
  } catch {
    return Number.NaN;
  }
}
