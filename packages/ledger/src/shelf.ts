/**
 * A tenant's things that are not jobs, by kind: files, batches. Each is a hash of JSON values, so that several writers can change
 * different fields of one. They are kept for as long as a job can be, and go by themselves. Knows Redis; what a thing is, its schema does.
 */
import type { Redis } from "ioredis";
import type { z } from "zod";
import type { Keys } from "./keys.ts";

/** A job may wait for a day, and is then kept for as long as ended ones are. */
const longestWaitS = 86_400;

export type Shelf<T extends object> = {
  put: (tenant: string, id: string, thing: T) => Promise<void>;
  /** The tenant's thing, or null when it has none of this id. */
  get: (tenant: string, id: string) => Promise<T | null>;
  /** Changes some fields of one that is there. */
  patch: (tenant: string, id: string, fields: Partial<T>) => Promise<void>;
  /** Up to `limit`, newest first, behind the one called `after`. */
  list: (
    tenant: string,
    limit: number,
    after: string | null,
  ) => Promise<{ id: string; thing: T }[]>;
  /** False: there was none. */
  remove: (tenant: string, id: string) => Promise<boolean>;
  /** Where it is, for what is to be held as long as it is there. */
  key: (tenant: string, id: string) => string;
};

export function createShelf<T extends object>(
  redis: Redis,
  keys: Keys,
  kind: "file" | "batch",
  schema: z.ZodType<T>,
  { shard, retentionS }: { shard: string; retentionS: number },
): Shelf<T> {
  const keptS = 2 * retentionS + longestWaitS;
  const key = (tenant: string, id: string) => keys.shelved(shard, kind, `${tenant}:${id}`);
  const index = (tenant: string) => keys.shelf(shard, kind, tenant);

  async function write(name: string, fields: Partial<T>): Promise<void> {
    const pairs = Object.entries(fields).flatMap(([field, value]) => [
      field,
      JSON.stringify(value),
    ]);
    await redis
      .multi()
      .hset(name, ...pairs)
      .expire(name, keptS)
      .exec();
  }

  async function get(tenant: string, id: string): Promise<T | null> {
    const fields = Object.entries(await redis.hgetall(key(tenant, id)));
    if (fields.length === 0) return null;
    return schema.parse(
      Object.fromEntries(fields.map(([field, json]) => [field, JSON.parse(json)])),
    );
  }

  return {
    key,
    get,
    async put(tenant, id, thing) {
      await write(key(tenant, id), thing);
      const now = Date.now();
      await redis
        .multi()
        .zadd(index(tenant), now, id)
        .zremrangebyscore(index(tenant), "-inf", now - keptS * 1_000)
        .expire(index(tenant), keptS)
        .exec();
    },
    patch: (tenant, id, fields) => write(key(tenant, id), fields),
    async list(tenant, limit, after) {
      const rank = after === null ? null : await redis.zrevrank(index(tenant), after);
      const first = rank === null ? 0 : rank + 1;
      const ids = await redis.zrevrange(index(tenant), first, first + limit - 1);
      const things = await Promise.all(ids.map((id) => get(tenant, id)));
      return ids.flatMap((id, i) => (things[i] ? [{ id, thing: things[i] }] : []));
    },
    async remove(tenant, id) {
      await redis.zrem(index(tenant), id);
      return (await redis.del(key(tenant, id))) === 1;
    },
  };
}
