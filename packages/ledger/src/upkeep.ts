/**
 * What keeps the ledger and the queue in step when somebody has died in between: marks, deadlines, jobs that nobody holds.
 * Everything here can be done by several processes at once, and again. Knows Redis and the contracts, as the ledger does.
 */
import { jobId, versionName } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import { z } from "zod";
import type { Keys } from "./keys.ts";
import { keysOfEnd } from "./keys.ts";
import { loadScripts } from "./scripts.ts";

/** Where a job waits: its version's queue, and with which priority. */
export type Place = { version: string; priority: number };

/** A job that has not ended, as the record has it; `state` is null when the record is gone. */
export type Unended = {
  /** Its entry in the list, `<tenant>/<id>`. */
  entry: string;
  id: string;
  state: string | null;
  attempt: number;
  version: string;
  /** The job whose answer it waits for, if it is not to be run itself. */
  leader: string | null;
};

export type Upkeep = ReturnType<typeof createUpkeep>;

const redisTime = z.tuple([z.coerce.number(), z.coerce.number()]);
const place = z.union([z.tuple([versionName, z.int().positive()]), z.tuple([])]);
const rebased = z.tuple([z.coerce.number(), z.literal([0, 1])]);

/** The upkeep of one shard. `retentionS` as for the ledger. */
export function createUpkeep(
  redis: Redis,
  keys: Keys,
  { shard, retentionS }: { shard: string; retentionS: number },
) {
  const run = loadScripts(redis);
  const step = (name: "place" | "requeue", id: string, ...args: (string | number)[]) =>
    run(name, keysOfEnd(keys, id), [id, keys.channel(id), retentionS, ...args]);

  async function now(): Promise<number> {
    const [seconds, microseconds] = redisTime.parse(await redis.time());
    return seconds * 1_000 + Math.floor(microseconds / 1_000);
  }

  return {
    /** Ids of jobs that were to be enqueued more than `olderThanMs` ago, and of those that nobody else will enqueue, oldest first. */
    async pending(olderThanMs: number, limit: number): Promise<string[]> {
      const until = (await now()) - olderThanMs;
      return redis.zrangebyscore(keys.pending(shard), 0, until, "LIMIT", 0, limit);
    },

    /** Null when there is no such job. */
    async place(id: string): Promise<Place | null> {
      const reply = place.parse(await step("place", id));
      return reply.length === 0 ? null : { version: reply[0], priority: reply[1] };
    },

    /** Ids of jobs whose deadline has passed, the longest ago first. */
    async due(limit: number): Promise<string[]> {
      return redis.zrangebyscore(keys.deadlines(shard), 0, await now(), "LIMIT", 0, limit);
    },

    /** The next `limit` jobs that have not ended, by their entries' names; `after` is the last one's, or nothing to begin. */
    async unended(after: string, limit: number): Promise<Unended[]> {
      const from = after === "" ? "-" : `(${after}`;
      const entries = await redis.zrangebylex(keys.active(shard), from, "+", "LIMIT", 0, limit);
      return Promise.all(
        entries.map(async (entry) => {
          const id = jobId.parse(entry.split("/").at(-1));
          const fields = await redis.hmget(keys.job(id), "state", "attempt", "version", "leader");
          const [state = null, attempt, version, leader = null] = fields;
          return { entry, id, state, attempt: Number(attempt), version: version ?? "", leader };
        }),
      );
    },

    /** Whether the job is there and has not ended. */
    async isUnended(id: string): Promise<boolean> {
      const state = await redis.hget(keys.job(id), "state");
      return state === "queued" || state === "running";
    },

    /** Takes a job that is gone off the lists. */
    async forget({ entry, id }: Pick<Unended, "entry" | "id">): Promise<void> {
      await redis.zrem(keys.active(shard), entry);
      await redis.zrem(keys.deadlines(shard), id);
    },

    /** Has a job that nobody holds enqueued again. False: something has happened to it since `attempt`. */
    async requeue(id: string, attempt: number): Promise<boolean> {
      return (await step("requeue", id, attempt)) === 1;
    },

    /**
     * Has a version's priorities counted from a new base when the clock is more than `limit` past the old one.
     * Not `settled`: jobs in the queue may have a priority of an old base; say `settle` once they have not.
     */
    async rebase(version: string, limit: number): Promise<{ base: number; settled: boolean }> {
      const [base, unsettled] = rebased.parse(
        await run("rebase", [`${keys.fair(shard)}:${version}`], [limit]),
      );
      return { base, settled: unsettled === 0 };
    },

    /** All jobs in the version's queue have priorities of this base. */
    async settle(version: string, base: number): Promise<void> {
      await redis.hset(`${keys.fair(shard)}:${version}`, "settled", base);
    },
  };
}
