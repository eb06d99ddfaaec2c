/**
 * The outbox: what somebody else is to be told of. The ledger's steps write it together with what it is about, so no crash comes
 * between; couriers share the reading, and what one has taken and not done is taken again. Knows Redis and the contracts.
 */
import type { OutboxEntry, WebhookEvent } from "@glimpse/contracts";
import { outboxEntry } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import { z } from "zod";
import type { Keys } from "./keys.ts";

/** An entry that has been taken; null in place of one that cannot be read. */
export type Taken = { stream: string; entryId: string; entry: OutboxEntry | null };

export type Notice = { id: string; tenant: string; type: WebhookEvent; data: unknown };

export type Outbox = ReturnType<typeof createOutbox>;

/** All couriers are one consumer: entries go to one of them anyhow, and no names are left behind. */
const [group, consumer] = ["couriers", "courier"];

const fields = z.array(z.string()).nullable();
const entries = z.array(z.tuple([z.string(), fields]));
const streams = z.array(z.tuple([z.string(), entries])).nullable();
const claimed = z.tuple([z.string(), entries]).rest(z.unknown());

/** `blocking` is a connection of its own, since reading holds it. */
export function createOutbox(
  redis: Redis,
  blocking: Redis,
  keys: Keys,
  { shard }: { shard: string },
) {
  const outbox = keys.outbox(shard);
  const pieces = keys.outboxPieces(shard);

  return {
    /** Up to `count` of the entries that nobody has taken, as soon as there are any; none after `waitMs`. */
    async take(count: number, waitMs: number): Promise<Taken[]> {
      const read = () =>
        blocking.xreadgroup(
          ...(["GROUP", group, consumer, "COUNT", count, "BLOCK", waitMs] as const),
          ...(["STREAMS", outbox, pieces, ">", ">"] as const),
        );
      const reply = streams.parse(await withGroups(read));
      return (reply ?? []).flatMap(([stream, found]) => found.map((one) => takenOf(stream, one)));
    },

    /** Up to `count` of the entries that somebody took `idleMs` ago and has not done. */
    async retake(count: number, idleMs: number): Promise<Taken[]> {
      const claim = () => redis.xautoclaim(outbox, group, consumer, idleMs, "0", "COUNT", count);
      const [, found] = claimed.parse(await withGroups(claim));
      return found.map((one) => takenOf(outbox, one));
    },

    /** The entries are done with. */
    async done(taken: Pick<Taken, "stream" | "entryId">[]): Promise<void> {
      const pipeline = redis.pipeline();
      for (const [stream, some] of Map.groupBy(taken, (one) => one.stream)) {
        const ids = some.map(({ entryId }) => entryId);
        pipeline.xack(stream, group, ...ids).xdel(stream, ...ids);
      }
      for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
    },

    /** How many entries are not done with. */
    length: (): Promise<number> => redis.xlen(outbox),
  };

  /** Groups are made when they are missed: at the beginning, and after a Redis has lost its data. */
  async function withGroups<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith("NOGROUP")) throw error;
    }
    for (const stream of [outbox, pieces]) {
      await redis.xgroup("CREATE", stream, group, "0", "MKSTREAM").catch((error: Error) => {
        if (!error.message.startsWith("BUSYGROUP")) throw error;
      });
    }
    return read();
  }
}

/** Has a tenant's endpoints told of something; again with the same id changes nothing. */
export function createAnnounce(redis: Redis, keys: Keys, { shard }: { shard: string }) {
  return async function announce({ id, tenant, type, data }: Notice): Promise<void> {
    const said = ["notice", id, "tenant", tenant, "type", type, "data", JSON.stringify(data)];
    await redis.xadd(keys.outbox(shard), "*", ...said);
  };
}

function takenOf(stream: string, [entryId, list]: z.infer<typeof entries>[number]): Taken {
  const pairs = (list ?? []).flatMap((name, i, all) => (i % 2 === 0 ? [[name, all[i + 1]]] : []));
  const entry = outboxEntry.safeParse(Object.fromEntries(pairs));
  return { stream, entryId, entry: entry.success ? entry.data : null };
}
