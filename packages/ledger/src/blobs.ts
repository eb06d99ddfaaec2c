/**
 * Pictures by the SHA-256 of their bytes. Which are kept, for whom and how many bytes they have is in Redis; the bytes are in
 * a store: Redis, a folder or S3. A job that is recorded holds its pictures until its record is gone (scripts/submit.lua);
 * `sweep` removes those that nobody holds. Knows no job and no HTTP.
 */
import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import { z } from "zod";
import type { Keys } from "./keys.ts";
import { loadScripts } from "./scripts.ts";

export type Blobs = {
  /** Keeps the bytes for the jobs that are recorded within the next minutes. Throws BlobErrors and Redis's errors. */
  put(digest: string, bytes: Uint8Array): Promise<void>;
  /** The bytes, or null when they are gone. Throws BlobErrors and Redis's errors. */
  get(digest: string): Promise<Uint8Array | null>;
  /** Removes pictures that no job holds any more. Safe to run anywhere, any number of times. Returns how many it removed. */
  sweep(): Promise<number>;
};

/** Bytes by name. A name never stands for other bytes, so whatever is done twice is harmless. All throw BlobErrors or Redis's errors. */
export type BlobStore = {
  put(name: string, bytes: Uint8Array): Promise<void>;
  get(name: string): Promise<Uint8Array | null>;
  has(name: string): Promise<boolean>;
  delete(name: string): Promise<void>;
};

/** The store cannot serve just now: there is no room, or it does not answer. The message is for our log. */
export class BlobError extends Error {
  override name = "BlobError";
  readonly reason: "full" | "unavailable";
  constructor(reason: "full" | "unavailable", message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }
}

/** From its last put until a job must hold it: longer than any request lives. */
const graceMs = 600_000;
/** How often it is looked whether a picture is still held. */
const lookEveryMs = 300_000;
/** Pictures looked at in one Lua step, a fraction of a millisecond. */
const looksAtOnce = 100;

const claimed = z.union([
  z.tuple([z.literal(0), z.string()]),
  z.tuple([z.literal(1), z.string()]),
  z.tuple([z.literal(-1)]),
]);

/** Blobs of one shard whose bytes are in `store`, at most `budgetBytes` of them. */
export function createBlobs(
  redis: Redis,
  store: BlobStore,
  keys: Keys,
  options: { shard: string; budgetBytes: number },
): Blobs {
  const { shard, budgetBytes } = options;
  const run = loadScripts(redis);
  const [index, total, trash] = [keys.blobs(shard), keys.blobTotal(shard), keys.blobTrash(shard)];

  return {
    async put(digest, bytes) {
      // A name of its own each time it comes, so that removing an old one cannot hit a new one.
      const fresh = `${digest}.${randomBytes(4).toString("hex")}`;
      const record = keys.blob(shard, digest);
      const args = [digest, fresh, bytes.byteLength, budgetBytes, graceMs];
      const [isKept, name] = claimed.parse(await run("claim_blob", [index, record, total], args));
      if (name === undefined) throw new BlobError("full", `over ${budgetBytes} bytes of pictures`);
      if (isKept === 1 && (await store.has(name))) return;
      await store.put(name, bytes);
      if ((await run("keep_blob", [record], [name])) === 1) return;
      await store.delete(name);
      throw new BlobError("unavailable", "storing took so long that the picture was given up");
    },

    async get(digest) {
      const name = await redis.hget(keys.blob(shard, digest), "name");
      return name === null ? null : store.get(name);
    },

    async sweep() {
      const prefixes = [keys.blob(shard, ""), keys.blobHolders(shard, "")];
      const args = [...prefixes, looksAtOnce, lookEveryMs];
      let looked = looksAtOnce;
      while (looked === looksAtOnce) {
        looked = z.int().parse(await run("sweep_blobs", [index, total, trash], args));
      }
      const names = await redis.smembers(trash);
      for (const name of names) {
        await store.delete(name);
        await redis.srem(trash, name);
      }
      return names.length;
    },
  };
}
