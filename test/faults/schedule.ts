/** Faults one after the other, chosen by chance from a seed: what dies, which line breaks how, and what Redis does to everybody. */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import type { Random } from "../support/random.ts";
import type { Cluster, Kind, Member } from "./cluster.ts";
import { killQuietly } from "./cluster.ts";

/** Breaks something and resolves when it is whole again, or will heal by itself. */
type Fault = (cluster: Cluster, random: Random) => Promise<void>;

function workerPlaces(): string[] {
  const ofAttempt = [
    "before start",
    "after start",
    "after append",
    "before finish",
    "after finish",
  ];
  return ["after moveToActive", ...ofAttempt, "after release", "after moveToFinished"];
}

/** Where each kind of process may die, in the order of a job's life: between two steps that change Redis. */
export const places: Record<Kind, string[]> = {
  api: ["before submit", "after submit"],
  worker: workerPlaces(),
  fleet: workerPlaces(),
  courier: [
    "after pending",
    "before addPrioritizedJob",
    "after addPrioritizedJob",
    "before requeue",
  ],
};

const anyone = (cluster: Cluster, random: Random): Member => random.pick(cluster.members);

async function onLine(
  breakIt: (line: Member["redisLine"], random: Random) => void,
  forMs: number,
  cluster: Cluster,
  random: Random,
): Promise<void> {
  const { redisLine } = anyone(cluster, random);
  breakIt(redisLine, random);
  await sleep(random.between(0, forMs));
  await redisLine.heal();
}

async function stopAndGoOn(pid: number, forMs: number): Promise<void> {
  try {
    process.kill(pid, "SIGSTOP");
    await sleep(forMs);
    process.kill(pid, "SIGCONT");
  } catch {
    // It died of something else.
  }
}

/** What befalls processes and Redis. */
const deaths: Record<string, Fault> = {
  async "kill anyone"(cluster, random) {
    await anyone(cluster, random).kill("SIGKILL");
  },
  async "kill a fleet's worker"({ workers }, random) {
    const pids = workers.flatMap((worker) => worker.workPids());
    if (pids.length > 0) killQuietly(random.pick(pids));
  },
  async "let anyone die at a place"(cluster, random) {
    await anyone(cluster, random).layFuse();
  },
  async "kill Redis"({ redis }, random) {
    await redis.kill("SIGKILL");
    await sleep(random.between(0, 2_000));
    await redis.start().catch(() => redis.start()); // Its port may have been somebody's for a moment.
  },
  async "ask anyone to stop"(cluster, random) {
    await anyone(cluster, random).kill("SIGTERM");
  },
  async "hang a worker past its lease"({ workers }, random) {
    const pids = workers.flatMap((worker) => worker.workPids());
    if (pids.length > 0) await stopAndGoOn(random.pick(pids), random.between(6_000, 9_000));
  },
  "hang an API": ({ apis }, random) =>
    stopAndGoOn(random.pick(apis).running.pid, random.between(500, 3_000)),
  "hang Redis": ({ redis }, random) => stopAndGoOn(redis.pid(), random.between(500, 3_000)),
  async "fill Redis"({ redis }, random) {
    const admin = new Redis(redis.url, { maxRetriesPerRequest: null });
    await admin.config("SET", "maxmemory", "1");
    await sleep(random.between(200, 2_000));
    await admin.config("SET", "maxmemory", "0");
    admin.disconnect();
  },
};

/** What befalls the lines between them. */
const cuts: Record<string, Fault> = {
  "reset a line": (cluster, random) => onLine((line) => line.reset(), 0, cluster, random),
  "refuse a line": (cluster, random) => onLine((line) => line.refuse(), 2_000, cluster, random),
  "cut a line silently": (cluster, random) => onLine((line) => line.silence(), 0, cluster, random),
  "slow a line": (cluster, random) =>
    onLine((line, { between }) => line.delay(between(20, 200)), 2_000, cluster, random),
  "lose Redis's replies": (cluster, random) =>
    onLine((line, { chance }) => line.loseReplies(() => chance(0.2)), 1_000, cluster, random),
  async "lose an API's answers"({ apis }, random) {
    const { door } = random.pick(apis);
    door?.loseReplies((request) => request.startsWith("POST ") && random.chance(0.5));
    await sleep(random.between(0, 1_000));
    await door?.heal();
  },
};

/** Breaks a process and a line at a time until the signal, one after the other, a short while apart. Returns how often each was done. */
export async function breakThings(
  cluster: Cluster,
  random: Random,
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const done: Record<string, number> = {};
  async function breakAny(faults: Record<string, Fault>): Promise<void> {
    while (!signal.aborted) {
      await sleep(random.between(100, 1_000));
      if (signal.aborted) break;
      const name = random.pick(Object.keys(faults));
      await faults[name]?.(cluster, random);
      done[name] = (done[name] ?? 0) + 1;
    }
  }
  await Promise.all([breakAny(deaths), breakAny(cuts)]);
  return done;
}
