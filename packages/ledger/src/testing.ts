/** A ledger for tests: on the test run's Redis, under a key prefix that nobody else uses. Not for production. */
import { randomBytes } from "node:crypto";
import { inject } from "vitest";
import { createKeys } from "./keys.ts";
import { createLedger } from "./ledger.ts";
import { openBlobs } from "./open-blobs.ts";
import { createQueues } from "./queue.ts";
import { connectRedis } from "./redis.ts";
import { Subscriber } from "./subscriber.ts";
import { createUpkeep } from "./upkeep.ts";

declare module "vitest" {
  interface ProvidedContext {
    redisUrl: string;
  }
}

export type TestLedger = Awaited<ReturnType<typeof openTestLedger>>;

/** Opens everything the ledger has; `close` removes what the test wrote. */
export async function openTestLedger() {
  const url = inject("redisUrl");
  const prefix = `test-${randomBytes(6).toString("hex")}`;
  const keys = createKeys(prefix);
  const connect = () => connectRedis(url, "patient", () => {});
  const redis = connect();
  const listening = connect();
  const queues = createQueues(redis, keys, { timeoutMs: 5_000 });
  return {
    url,
    prefix,
    keys,
    redis,
    queues,
    ledger: createLedger(redis, keys, { shard: "0", retentionS: 3_600, resultCacheS: 300 }),
    upkeep: createUpkeep(redis, keys, { shard: "0", retentionS: 3_600 }),
    blobs: await openBlobs({ kind: "redis" }, { redis, bulk: redis }, keys, {
      shard: "0",
      retentionS: 3_600,
      budgetBytes: undefined,
    }),
    /** The subscriber's connection, to be cut by tests. */
    listening,
    subscriber: new Subscriber(listening),
    async close() {
      await queues.close();
      const written = await redis.keys(`${prefix}:*`);
      if (written.length > 0) await redis.del(...written);
      redis.disconnect();
      listening.disconnect();
    },
  };
}
