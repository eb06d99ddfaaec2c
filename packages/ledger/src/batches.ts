/** Files and batches, and who works on which batch. Knows Redis and blobs; what a line says is not its business. */
import { randomBytes, webcrypto } from "node:crypto";
import type { KeptBatch, KeptFile } from "@glimpse/contracts";
import { keptBatch, keptFile } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import type { Blobs } from "./blobs.ts";
import type { Keys } from "./keys.ts";
import { fingerprint } from "./fingerprint.ts";
import { createShelf } from "./shelf.ts";

export type Files = ReturnType<typeof createFiles>;
export type Batches = ReturnType<typeof createBatches>;

type Options = { shard: string; retentionS: number };

export function createFiles(redis: Redis, keys: Keys, blobs: Blobs, options: Options) {
  const shelf = createShelf(redis, keys, "file", keptFile, options);
  return {
    get: shelf.get,
    list: shelf.list,
    remove: shelf.remove,

    /** Keeps the bytes under a new id, or under the one that `key` gives. Throws BlobErrors. */
    async create(
      tenant: string,
      name: string,
      purpose: string,
      bytes: Uint8Array<ArrayBuffer>,
      key: string = randomBytes(16).toString("hex"),
    ) {
      const id = `file-${fingerprint([tenant, key]).slice(0, 32)}`;
      const hash = await webcrypto.subtle.digest("SHA-256", bytes);
      const digest = Buffer.from(hash).toString("hex");
      const createdMs = Date.now();
      const file: KeptFile = { name, purpose, bytes: bytes.length, digest, createdMs };
      await blobs.put(digest, bytes);
      await shelf.put(tenant, id, file);
      await redis.rpush(keys.blobHolders(options.shard, digest), shelf.key(tenant, id));
      return { id, file };
    },

    /** The bytes, or null when they are gone. */
    read: ({ digest }: Pick<KeptFile, "digest">) => blobs.get(digest),
  };
}

export function createBatches(redis: Redis, keys: Keys, options: Options) {
  const { shard } = options;
  const shelf = createShelf(redis, keys, "batch", keptBatch, options);
  const open = keys.openBatches(shard);
  const refusals = (id: string) => keys.shelved(shard, "refusals", id);
  return {
    get: shelf.get,
    patch: shelf.patch,
    list: shelf.list,

    /** The batches that have not ended, oldest first. */
    async open(): Promise<{ tenant: string; id: string }[]> {
      const names = await redis.zrange(open, "0", "-1");
      return names.map((name) => {
        const [tenant = "", id = ""] = name.split("/");
        return { tenant, id };
      });
    },
    async create(tenant: string, id: string, batch: KeptBatch): Promise<void> {
      await shelf.put(tenant, id, batch);
      await redis.zadd(open, batch.createdMs, `${tenant}/${id}`);
    },
    /** The batch has ended. */
    async end(tenant: string, id: string): Promise<void> {
      await redis.zrem(open, `${tenant}/${id}`);
    },

    /** Whether the batch is ours to work on for so long; again by the same worker prolongs that. */
    async lease(id: string, worker: string, ms: number): Promise<boolean> {
      const key = keys.shelved(shard, "lease", id);
      if ((await redis.set(key, worker, "PX", ms, "NX")) === "OK") return true;
      if ((await redis.get(key)) !== worker) return false;
      return (await redis.pexpire(key, ms)) === 1;
    },

    /** Why a line never became a job. */
    async refuse(id: string, line: number, why: string): Promise<void> {
      const ttlS = 2 * options.retentionS + 86_400;
      await redis.multi().hset(refusals(id), String(line), why).expire(refusals(id), ttlS).exec();
    },
    async refusal(id: string, line: number): Promise<string | null> {
      return redis.hget(refusals(id), String(line));
    },
  };
}
