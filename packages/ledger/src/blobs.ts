/** Pictures by the SHA-256 of their bytes. A small interface, so that other stores can stand behind it. */
import type { Redis } from "ioredis";
import type { Keys } from "./keys.ts";

export type Blobs = {
  /** Keeps the bytes for at least the store's time to live from now. */
  put(digest: string, bytes: Uint8Array): Promise<void>;
  /** The bytes, or null when they are gone. */
  get(digest: string): Promise<Uint8Array | null>;
};

/**
 * Blobs in Redis. `redis` is asked whether a blob is there already and so notices at once when Redis does not answer;
 * `bulk` is a connection of its own, so that megabytes do not stand in front of other commands.
 */
export function createRedisBlobs(
  redis: Redis,
  bulk: Redis,
  keys: Keys,
  options: { shard: string; ttlS: number },
): Blobs {
  const { shard, ttlS } = options;
  return {
    async put(digest, bytes) {
      const key = keys.blob(shard, digest);
      if ((await redis.expire(key, ttlS)) === 1) return;
      await bulk.set(
        key,
        Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
        "EX",
        ttlS,
      );
    },
    async get(digest) {
      return bulk.getBuffer(keys.blob(shard, digest));
    },
  };
}
