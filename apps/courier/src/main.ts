/** The process: does each sweep over and over until it is told to stop. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  connectRedis,
  createKeys,
  createLedger,
  createQueues,
  createUpkeep,
  openBlobs,
} from "@glimpse/ledger";
import { createProcessLogger } from "@glimpse/telemetry";
import { readConfig } from "./config.ts";
import { createSweeps } from "./sweep.ts";
import { startWebhooks } from "./webhooks.ts";

const log = createProcessLogger("courier");
const config = readConfig();
log.level = config.logLevel;
const { shard, retentionS } = config;

const connect = () =>
  connectRedis(config.redisUrl, "patient", (error) => log.warn({ error }, "redis connection lost"));
const redis = connect();
const waiting = connect();
const keys = createKeys(config.keyPrefix);
const ledger = createLedger(redis, keys, { shard, retentionS });
const queues = createQueues(redis, keys, { timeoutMs: 10_000 });
const upkeep = createUpkeep(redis, keys, { shard, retentionS });
const sweeps = createSweeps({ shard, ledger, queues, upkeep });
// It removes pictures and never stores any: no budget, and no connection of its own for megabytes.
const blobs = await openBlobs(config.blobs, { redis, bulk: redis }, keys, {
  shard,
  retentionS,
  budgetBytes: undefined,
});
const webhooks = startWebhooks({
  redis,
  waiting,
  keys,
  ledger,
  shard,
  config: config.webhooks,
  log,
});
const stopping = new AbortController();

async function every(ms: number, name: string, sweep: () => Promise<number | void>): Promise<void> {
  while (!stopping.signal.aborted) {
    try {
      const found = await sweep();
      if (found) log.info({ sweep: name, found }, "swept");
    } catch (error) {
      log.warn({ error, sweep: name }, "a sweep failed");
    }
    await sleep(ms, undefined, { signal: stopping.signal }).catch(() => {});
  }
}

const sweeping = [
  every(250, "deadlines", () => sweeps.deadlines()),
  every(1_000, "pending", () => sweeps.pending()),
  every(config.orphanSweepMs, "orphans", () => sweeps.orphans()),
  every(5_000, "pictures", () => blobs.sweep()),
  every(5_000, "turns", () => sweeps.turns()),
  every(5_000, "outbox", () => webhooks.retake()),
  every(5_000, "deliveries", () => webhooks.overdue()),
];
log.info("ready");

/** A sweep that waits for a lost Redis never ends: what it did not do, the next courier does. */
async function stop(signal: string): Promise<void> {
  log.info({ signal }, "stopping");
  stopping.abort();
  await Promise.race([Promise.all([...sweeping, webhooks.stop()]), sleep(5_000)]);
  await Promise.race([queues.close(), sleep(1_000)]);
  redis.disconnect();
  log.info("stopped");
  process.exit(0);
}
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop(signal));
