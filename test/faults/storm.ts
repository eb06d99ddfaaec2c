/** Many jobs through a system on which everything is broken by chance, and what became of them. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../support/random.ts";
import { createRandom } from "../support/random.ts";
import type { Findings } from "./checker.ts";
import { check } from "./checker.ts";
import type { Order } from "./client.ts";
import { count, createClients } from "./client.ts";
import { startCluster } from "./cluster.ts";
import { breakThings, places } from "./schedule.ts";
import { openStore } from "./stored.ts";

export type StormOptions = {
  jobs: number;
  seed: number;
  /** Nothing is broken, but for what `env` plants. */
  calm?: boolean;
  /** The environment of every process, such as a planted bug. */
  env?: Record<string, string>;
  apis?: number;
  workers?: number;
  couriers?: number;
  /** How long everything may take to come to rest once nothing is broken any more. */
  settleMs?: number;
  /** Where each kind of process may die. */
  diesAt?: typeof places;
  /** What is added to the body of the job with this key. */
  extra?: (key: string) => object;
  /** Called when all jobs have ended and everything still runs. */
  atRest?: (store: ReturnType<typeof openStore>) => Promise<void>;
};

export type StormResult = Findings & {
  faults: Record<string, number>;
  refusals: Record<string, number>;
  seconds: number;
};

const clientsAtOnce = 32;

/** A job of some length: most are to succeed, some are canceled, some in a hurry, some ask what others ask at the same time. */
function makeOrder(random: Random): Omit<Order, "key"> & { fate?: "canceled" } {
  const kind = random.fraction();
  if (kind < 0.1) {
    const body = { options: { temperature: 0, seed: random.between(1, 5) } };
    return { ...count(5, 20), body };
  }
  const order = count(random.between(1, 6), random.between(0, 20));
  if (kind < 0.15) return { ...order, ends: ["succeeded", "canceled"], fate: "canceled" };
  if (kind < 0.2) {
    const body = { deadline_ms: random.between(1_000, 5_000) };
    return { ...order, ends: ["succeeded", "expired"], body };
  }
  return order;
}

/** Submits `jobs` jobs while things break, mends everything, waits for rest and holds the history against the ledger. */
export async function storm({
  jobs,
  seed,
  calm = false,
  env = {},
  apis = 2,
  workers = 2,
  couriers = 1,
  settleMs = 60_000,
  diesAt = places,
  extra = () => ({}),
  atRest = async () => {},
}: StormOptions): Promise<StormResult> {
  const random = createRandom(seed);
  const startedAt = performance.now();
  const cluster = await startCluster({
    apis,
    workers,
    couriers,
    env: { SLOTS: "16", ...env },
    envOfStart: (kind) => ({ KILL_AT: random.pick(diesAt[kind]) }),
  });
  const store = openStore(cluster.redis.url, cluster.prefix);
  try {
    const clients = createClients(cluster.urls, createRandom(seed + 1));
    const storming = new AbortController();
    if (calm) storming.abort();
    const breaking = breakThings(cluster, random, storming.signal);
    breaking.catch(() => {}); // Awaited below; submitting may fail first.

    const reading: Promise<unknown>[] = [];
    const orders = createRandom(seed + 2);
    let next = 0;
    async function client(): Promise<void> {
      while (next < jobs) {
        const key = `order-${seed}-${next++}`;
        const { fate, ...order } = makeOrder(orders);
        const body = { ...order.body, ...extra(key) };
        const id = await clients.submit({ key, ...order, body });
        if (orders.chance(0.2)) reading.push(clients.follow(id));
        if (fate === "canceled") await clients.cancel(id);
      }
    }
    await Promise.all(Array.from({ length: Math.min(jobs, clientsAtOnce) }, client));
    storming.abort();
    const done = await breaking;
    await cluster.heal();
    const ids = clients.history.flatMap((entry) =>
      entry.type === "acknowledged" ? [entry.id] : [],
    );
    await store.untilEnded(ids, settleMs);
    await Promise.all(reading);
    await atRest(store);
    await sleep(500); // The workers' last words.
    const findings = check([...clients.history, ...cluster.workersWords()], await store.readAll());
    const seconds = Math.round((performance.now() - startedAt) / 1_000);
    return { ...findings, faults: done, refusals: Object.fromEntries(clients.refusals), seconds };
  } finally {
    store.close();
    await cluster.stop();
  }
}
