/** Time goes wrong: clocks that disagree, and processes that stand still without dying. */
import { setTimeout as sleep } from "node:timers/promises";
import { isTerminal } from "@glimpse/contracts";
import { createRandom } from "../support/random.ts";
import type { Findings } from "./checker.ts";
import { check } from "./checker.ts";
import { count, createClients } from "./client.ts";
import { startCluster } from "./cluster.ts";
import { openStore } from "./stored.ts";

export type ClockResult = {
  /** How far a job's times are from those of a right clock, at most. */
  farthestMs: number;
  /** How long after their deadline jobs expired, at most. */
  latestMs: number;
  /** How long a job of a worker that died without anybody seeing it waited for its next attempt. */
  restartMs: number;
  findings: Findings;
};

const deadlineMs = 1_500;

/** Half of all processes are `shiftMs` fast, half of them slow. Some jobs have a deadline that they meet, some one that they miss. */
export async function clock(shiftMs: number, jobs: number, seed: number): Promise<ClockResult> {
  let started = 0;
  const envOfStart = () => ({ CLOCK_SHIFT_MS: String(started++ % 2 === 0 ? shiftMs : -shiftMs) });
  const cluster = await startCluster({
    apis: 2,
    workers: 2,
    workerKind: "worker",
    env: { SLOTS: "16" },
    envOfStart,
  });
  const store = openStore(cluster.redis.url, cluster.prefix);
  const clients = createClients(cluster.urls, createRandom(seed));
  const result = { farthestMs: 0, latestMs: 0, restartMs: 0 };
  try {
    const ids: string[] = [];
    for (let i = 0; i < jobs; i++) {
      const key = `clock-${seed}-${i}`;
      const order =
        i % 5 === 0
          ? { ...count(200, 50), ends: ["expired" as const], body: { deadline_ms: deadlineMs } }
          : { ...count(5, 10), ...(i % 5 === 1 && { body: { deadline_ms: 30_000 } }) };
      const sentAt = Date.now();
      const id = await clients.submit({ key, ...order });
      const [first] = (await store.read(id))?.log ?? [];
      result.farthestMs = Math.max(result.farthestMs, Math.abs((first?.at_ms ?? 0) - sentAt));
      ids.push(id);
    }
    await store.untilEnded(ids, 30_000);
    for (const { log } of await store.readAll()) {
      const end = log.find(({ type }) => type === "expired");
      const late = (end?.at_ms ?? 0) - (log[0]?.at_ms ?? 0) - deadlineMs;
      if (end !== undefined) result.latestMs = Math.max(result.latestMs, late);
    }
    const id = await clients.submit({ key: `clock-${seed}-long`, ...count(60, 50) });
    while ((await store.read(id))?.state !== "running") await sleep(10);
    const [holder] = cluster.workers.filter(({ running }) =>
      running.log.some(({ msg, job }) => msg === "job started" && job === id),
    );
    const diedAt = Date.now();
    await holder?.kill("SIGKILL");
    result.restartMs = (await nextStart(id, diedAt, store.read)) - diedAt;
    await store.untilEnded([id], 30_000);
    await sleep(200); // The workers' last words.
    const history = [...clients.history, ...cluster.workersWords()];
    return { ...result, findings: check(history, await store.readAll()) };
  } finally {
    store.close();
    await cluster.stop();
  }
}

export type BlockResult = {
  /** Jobs that another worker took over. */
  takenOver: number;
  /** From the beginning of the standstill to their next attempts. */
  restartMs: number[];
  findings: Findings;
};

/** Of two workers full of jobs one stands still for longer than its lease, and an API for a while. */
export async function block(blockMs: number, times: number, seed: number): Promise<BlockResult> {
  const env = { SLOTS: "8", BLOCK_MS: String(blockMs) };
  const cluster = await startCluster({ apis: 2, workers: 2, env });
  const store = openStore(cluster.redis.url, cluster.prefix);
  const random = createRandom(seed);
  const clients = createClients(cluster.urls, createRandom(seed + 1));
  const restartMs: number[] = [];
  let takenOver = 0;
  try {
    for (let i = 0; i < times; i++) {
      const submitted = Array.from({ length: 8 }, (_, n) =>
        clients.submit({ key: `block-${seed}-${i}-${n}`, ...count(40, 50) }),
      );
      const ids = await Promise.all(submitted);
      await sleep(random.between(200, 1_000));
      const blockedAt = Date.now();
      for (const pid of random.pick(cluster.workers).workPids()) process.kill(pid, "SIGUSR2");
      if (random.chance(0.5)) process.kill(random.pick(cluster.apis).running.pid, "SIGUSR2");
      await store.untilEnded(ids, 40_000);
      for (const id of ids) {
        const { log = [] } = (await store.read(id)) ?? {};
        const again = log.filter(({ type }) => type === "running")[1];
        if (again === undefined) continue;
        takenOver++;
        restartMs.push(again.at_ms - blockedAt);
      }
      await sleep(blockMs); // It wakes up and finds that its jobs are others'.
    }
    const history = [...clients.history, ...cluster.workersWords()];
    return { takenOver, restartMs, findings: check(history, await store.readAll()) };
  } finally {
    store.close();
    await cluster.stop();
  }
}

/** When the job's next attempt began, or its end came without one. */
async function nextStart(
  id: string,
  after: number,
  read: ReturnType<typeof openStore>["read"],
): Promise<number> {
  for (;;) {
    const { state = "queued", log = [] } = (await read(id)) ?? {};
    const again = log.find(({ type, at_ms }) => type === "running" && at_ms >= after);
    if (again !== undefined) return again.at_ms;
    if (isTerminal(state)) return Number.NaN;
    await sleep(50);
  }
}
