/** From the environment's BLOBS to where pictures are kept. */
import type { BlobPlace } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import type { Blobs, BlobStore } from "./blobs.ts";
import { createBlobs } from "./blobs.ts";
import { createDirectoryStore } from "./blob-directory.ts";
import { createRedisStore } from "./blob-redis.ts";
import type { Keys } from "./keys.ts";

/** What Redis is asked to hold when nobody says how much; folders and buckets have their own limits. */
const redisBudgetBytes = 1024 ** 3;
/** No job may wait longer than a day before it starts; from then on its record has the retention again. */
const longestWaitS = 86_400;

/** `redis` for small questions, `bulk` for megabytes if they go to Redis. */
export async function openBlobs(
  place: BlobPlace,
  { redis, bulk }: { redis: Redis; bulk: Redis },
  keys: Keys,
  options: { shard: string; retentionS: number; budgetBytes: number | undefined },
): Promise<Blobs> {
  const { shard, retentionS } = options;
  const budgetBytes =
    options.budgetBytes ?? (place.kind === "redis" ? redisBudgetBytes : Number.MAX_SAFE_INTEGER);
  return createBlobs(redis, await openStore(), keys, { shard, budgetBytes });

  async function openStore(): Promise<BlobStore> {
    if (place.kind === "directory") return createDirectoryStore(place.path);
    if (place.kind === "redis") {
      return createRedisStore(redis, bulk, keys, { shard, ttlS: 2 * retentionS + longestWaitS });
    }
    // The SDK takes a third of a second to load: only those who need it pay.
    const { createS3Store } = await import("./blob-s3.ts");
    return createS3Store(place);
  }
}
