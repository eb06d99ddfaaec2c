/** Pictures' bytes in Redis: nothing else to run, and dear in memory. */
import type { Redis } from "ioredis";
import type { BlobStore } from "./blobs.ts";
import type { Keys } from "./keys.ts";

/**
 * `redis` is asked the small questions and so notices at once when Redis does not answer; `bulk` is a connection of its own,
 * so that megabytes do not stand in front of other commands. Bytes that nobody has read or put for `ttlS` go even if nothing
 * sweeps: longer than a job can wait and then run.
 */
export function createRedisStore(
  redis: Redis,
  bulk: Redis,
  keys: Keys,
  options: { shard: string; ttlS: number },
): BlobStore {
  const { shard, ttlS } = options;
  const key = (name: string) => keys.blobBytes(shard, name);
  return {
    async put(name, bytes) {
      const { buffer, byteOffset, byteLength } = bytes;
      await bulk.set(key(name), Buffer.from(buffer, byteOffset, byteLength), "EX", ttlS);
    },
    get: (name) => bulk.getexBuffer(key(name), "EX", ttlS),
    has: async (name) => (await redis.expire(key(name), ttlS)) === 1,
    async delete(name) {
      await redis.unlink(key(name));
    },
  };
}
