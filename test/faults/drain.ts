/** A worker is asked to stop while jobs of all lengths run: does it leave in time and in order, and does nobody notice? */
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom } from "../support/random.ts";
import type { Findings } from "./checker.ts";
import { check } from "./checker.ts";
import { count, createClients } from "./client.ts";
import { startCluster } from "./cluster.ts";
import { openStore } from "./stored.ts";

export type DrainResult = {
  drains: number;
  slowestMs: number;
  /** Exit codes other than 0. */
  exits: (number | null)[];
  /** Jobs that nobody handed back, so that their lease had to run out. */
  stalled: number;
  handedBack: number;
  findings: Findings;
};

/** Stops one of two workers `times` times, now and then by a second signal too, while jobs come in. */
export async function drain(
  times: number,
  graceMs: number,
  seed: number,
  longestJobMs = 2 * graceMs,
): Promise<DrainResult> {
  const random = createRandom(seed);
  const env = { SLOTS: "8", GRACE_MS: String(graceMs) };
  const cluster = await startCluster({ workers: 2, env });
  const store = openStore(cluster.redis.url, cluster.prefix);
  const clients = createClients(cluster.urls, createRandom(seed + 1));
  const result = { drains: times, slowestMs: 0, exits: [] as (number | null)[] };
  const submitted: string[] = [];
  try {
    for (let i = 0; i < times; i++) {
      for (let n = 0; n < 8; n++) {
        const lengthMs = random.between(longestJobMs / 10, longestJobMs);
        const order = { key: `drain-${i}-${n}`, ...count(20, Math.round(lengthMs / 20)) };
        submitted.push(await clients.submit(order));
      }
      await sleep(random.between(0, 200));
      const worker = random.pick(cluster.workers);
      const stopping = worker.running;
      const askedAt = performance.now();
      const exited = worker.kill("SIGTERM");
      if (random.chance(0.2)) {
        await Promise.race([sleep(random.between(20, graceMs)), exited]);
        void stopping.kill("SIGTERM");
      }
      const code = await exited;
      result.slowestMs = Math.max(result.slowestMs, performance.now() - askedAt);
      if (code !== 0) result.exits.push(code);
      await worker.successor(stopping);
    }
    await store.untilEnded(submitted, 30_000 + longestJobMs);
    await sleep(200); // The workers' last words.
    const said = (what: string) => cluster.logs().filter(({ msg }) => msg === what);
    const history = [...clients.history, ...cluster.workersWords()];
    return {
      ...result,
      slowestMs: Math.round(result.slowestMs),
      stalled: said("a worker lost this job; it is queued again").length,
      handedBack: said("job stopped").filter(({ reason }) => reason === "drain").length,
      findings: check(history, await store.readAll()),
    };
  } finally {
    store.close();
    await cluster.stop();
  }
}
