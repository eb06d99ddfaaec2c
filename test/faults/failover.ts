/** The primary Redis dies with its machine and its replica takes its place: are jobs missing that clients were told were safe? */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { createRandom } from "../support/random.ts";
import { startProxy } from "../support/proxy.ts";
import { startRedisServer } from "../support/redis-server.ts";
import type { Findings } from "./checker.ts";
import { check } from "./checker.ts";
import { count, createClients } from "./client.ts";
import { startCluster } from "./cluster.ts";
import { openStore } from "./stored.ts";

/** What an acknowledgement means, see the API's DURABILITY. */
export type Durability = "primary" | "replica";

export type FailoverResult = {
  /** Jobs that were acknowledged before the primary's death. */
  before: number;
  /** From the primary's death to the first acknowledgement after it. */
  refusedMs: number;
  /** Jobs whose end was lost with the primary, so that they were run again. */
  rerun: number;
  findings: Findings;
};

const clientsAtOnce = 16;

/** Submits `jobs` jobs; in the midst of them the primary is killed and a replica that is `lagMs` behind promoted. */
export async function failover(
  durability: Durability,
  jobs: number,
  lagMs: number,
  seed: number,
): Promise<FailoverResult> {
  const random = createRandom(seed);
  const cluster = await startCluster({ env: { SLOTS: "16", DURABILITY: durability } });
  const clients = createClients(cluster.urls, createRandom(seed + 1));
  const line = await startProxy(cluster.redis.port);
  line.delay(lagMs / 2);
  const replica = await startRedisServer(line.port);
  const second = await startRedisServer(replica.port); // of the replica now, of the new primary then
  await Promise.all([synced(replica.url), synced(second.url)]);
  const store = openStore(replica.url, cluster.prefix);
  const acknowledged = () => clients.history.filter(({ type }) => type === "acknowledged");
  try {
    let next = 0;
    async function client(): Promise<void> {
      while (next < jobs) {
        const order = count(random.between(1, 4), random.between(0, 10));
        await clients.submit({ key: `failover-${seed}-${next++}`, ...order });
      }
    }
    const submitting = Promise.all(Array.from({ length: clientsAtOnce }, client));
    while (acknowledged().length < jobs / 2) await sleep(1);
    line.close(); // What is on its way to the replica dies with the machine.
    await cluster.redis.kill("SIGKILL");
    const before = acknowledged().length;
    const diedAt = performance.now();
    const admin = new Redis(replica.url);
    await admin.replicaof("NO", "ONE");
    admin.disconnect();
    cluster.moveTo(replica);
    while (acknowledged().length <= before) await sleep(1);
    const refusedMs = Math.round(performance.now() - diedAt);
    await submitting;
    const ids = acknowledged().flatMap((entry) => ("id" in entry ? [entry.id] : []));
    await store.untilEnded(ids, 60_000);
    await sleep(500); // The workers' last words, and jobs that nobody was told of.
    const findings = check(clients.history, await store.readAll());
    const committed = cluster.workersWords().filter(({ type }) => type === "committed");
    const rerun =
      committed.length - new Set(committed.map((entry) => "id" in entry && entry.id)).size;
    return { before, refusedMs, rerun, findings };
  } finally {
    store.close();
    await cluster.stop();
    for (const server of [replica, second]) await server.stop();
  }
}

/** Resolves when the replica follows its primary. */
async function synced(url: string): Promise<void> {
  const redis = new Redis(url);
  while (!(await redis.info("replication")).includes("master_link_status:up")) await sleep(20);
  redis.disconnect();
}
