/**
 * Deliveries: what is to be said to whom, each try of it, and what became of it. Every change is one Lua step.
 * Knows Redis and the contracts; knows neither BullMQ nor HTTP.
 */
import { randomBytes } from "node:crypto";
import type { Delivery, DeliveryState, DeliveryTry } from "@glimpse/contracts";
import { delivery, deliveryId, deliveryState, deliveryTry } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import { z } from "zod";
import { fingerprint } from "./fingerprint.ts";
import type { Keys } from "./keys.ts";
import { shardOf } from "./keys.ts";
import { loadScripts } from "./scripts.ts";

export type NewDelivery = {
  id: string;
  tenant: string;
  type: string;
  job?: string;
  /** Null: the job's own webhook, whose secret is here if it has one. */
  endpoint: string | null;
  secret?: string | undefined;
  url: string;
  body: string;
};

/** A delivery as the courier needs it; `tried` counts the tries since `askedMs`, when it was made or replayed. */
export type OpenDelivery = NewDelivery & { state: DeliveryState; tried: number; askedMs: number };

/** What follows from a try. */
export type TryVerdict =
  | { state: "pending"; delayMs: number; reason: string }
  | { state: "delivered" }
  | { state: "dead"; reason: string };

/** Whose deliveries. */
export type DeliveryIndex = { kind: "job" | "endpoint" | "tenant" | "dead"; name: string };
export type DeliveryPosition = { createdMs: number; id: string };

export type Deliveries = ReturnType<typeof createDeliveries>;

const scores = z.array(z.string());
const record = z.looseObject({
  tenant: z.string(),
  type: z.string(),
  job: z.string().optional(),
  endpoint: z.string().optional(),
  url: z.string(),
  secret: z.string().optional(),
  body: z.string(),
  state: deliveryState,
  reason: z.string().default(""),
  tried: z.coerce.number(),
  created_at: z.coerce.number(),
  asked_at: z.coerce.number(),
  next_at: z.coerce.number(),
});

/** The delivery of this event to this address: found again by whoever comes to make it twice. */
export function deliveryIdOf(shard: string, what: string[], to: string): string {
  return `dlv_${shard}_${fingerprint([...what, to]).slice(0, 32)}`;
}

export function newDeliveryId(shard: string): string {
  return `dlv_${shard}_${randomBytes(16).toString("hex")}`;
}

/** `keptS`: how long a delivery can be seen after it was settled. */
export function createDeliveries(
  redis: Redis,
  keys: Keys,
  { shard, keptS }: { shard: string; keptS: number },
) {
  const run = loadScripts(redis);
  const index = ({ kind, name }: DeliveryIndex, at = shard) => keys.deliveriesOf(at, kind, name);

  async function readRecord(id: string) {
    const fields = await redis.hgetall(keys.delivery(id));
    return fields.state === undefined ? null : record.parse(fields);
  }

  return {
    shard,

    /** Records the delivery and, if it is `urgent`, leaves word that it is to be sent. False: it was there already. */
    async open(made: NewDelivery, urgent: boolean): Promise<boolean> {
      const { id, tenant, job, endpoint, secret, ...rest } = made;
      const at = shardOf(id);
      const ofTenant = index({ kind: "tenant", name: tenant }, at);
      const fields = Object.entries({
        ...rest,
        job,
        endpoint: endpoint ?? undefined,
        secret,
      }).flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
      const reply = await run(
        "open_delivery",
        [
          keys.delivery(id),
          keys.openDeliveries(at),
          keys.outbox(at),
          ofTenant,
          job === undefined ? ofTenant : index({ kind: "job", name: job }, at),
          endpoint === null ? ofTenant : index({ kind: "endpoint", name: endpoint }, at),
        ],
        [id, keptS, urgent ? "1" : "0", "tenant", tenant, ...fields],
      );
      return reply === 1;
    },

    /** Null when it is gone. */
    async read(id: string): Promise<OpenDelivery | null> {
      const found = await readRecord(id);
      if (found === null) return null;
      const { tenant, type, job, endpoint = null, secret, url, body, state, tried } = found;
      const made = {
        id,
        tenant,
        type,
        endpoint,
        secret,
        url,
        body,
        ...(job !== undefined && { job }),
      };
      return { ...made, state, tried, askedMs: found.asked_at };
    },

    /** Notes a try (null: it was settled without one) and what follows. False: it is gone or settled. */
    async note(
      { id, tenant }: Pick<OpenDelivery, "id" | "tenant">,
      tried: DeliveryTry | null,
      verdict: TryVerdict,
    ): Promise<boolean> {
      const at = shardOf(id);
      const dead = index({ kind: "dead", name: tenant }, at);
      const delayMs = verdict.state === "pending" ? Math.round(verdict.delayMs) : 0;
      const reason = verdict.state === "delivered" ? "" : verdict.reason;
      const reply = await run(
        "note_try",
        [keys.delivery(id), keys.tries(id), keys.openDeliveries(at), dead],
        [id, keptS, tried === null ? "" : JSON.stringify(tried), verdict.state, reason, delayMs],
      );
      return reply === 1;
    },

    /** Has a settled delivery sent again, with the same id. */
    async replay(id: string, tenant: string): Promise<"replayed" | "pending" | "none"> {
      const at = shardOf(id);
      const dead = index({ kind: "dead", name: tenant }, at);
      const reply = await run(
        "replay",
        [keys.delivery(id), keys.openDeliveries(at), dead, keys.outbox(at)],
        [id, keptS, tenant],
      );
      return reply === 1 ? "replayed" : reply === 0 ? "pending" : "none";
    },

    /** The tenant's delivery as it is shown, or null when it has none of this id. */
    async show(id: string, tenant: string): Promise<Delivery | null> {
      const found = await readRecord(id);
      if (found === null || found.tenant !== tenant) return null;
      const tries = await redis.lrange(keys.tries(id), 0, -1);
      const { type, job = null, endpoint = null, url, state, reason } = found;
      return delivery.parse({
        id,
        object: "webhook_delivery",
        type,
        job,
        endpoint,
        url,
        state,
        reason: reason === "" ? null : reason,
        created_at: new Date(found.created_at).toISOString(),
        next_try_at: state === "pending" ? new Date(found.next_at).toISOString() : null,
        tries: tries.map((json) => deliveryTry.parse(JSON.parse(json))),
      });
    },

    /** Up to `limit` ids, newest first, behind `from` (null: from the newest). */
    async list(
      of: DeliveryIndex,
      limit: number,
      from: DeliveryPosition | null,
    ): Promise<DeliveryPosition[]> {
      const at = of.kind === "job" ? shardOf(of.name) : shard;
      const key = index(of, at);
      // The place of one that is gone is where those that are older begin.
      const rank = from && (await redis.zrevrank(key, from.id));
      const start =
        from === null
          ? 0
          : rank === null
            ? await redis.zcount(key, from.createdMs, "+inf")
            : rank + 1;
      const pairs = scores.parse(
        await redis.zrevrange(key, start, start + limit - 1, "WITHSCORES"),
      );
      return pairs.flatMap((id, i) =>
        i % 2 === 0 ? [{ id: deliveryId.parse(id), createdMs: Number(pairs[i + 1]) }] : [],
      );
    },

    /** Ids of pending deliveries whose next try should have been made `lateMs` ago, the latest first; `limit` of them from the `from`th on. */
    async overdue(lateMs: number, limit: number, from = 0): Promise<string[]> {
      const open = keys.openDeliveries(shard);
      return redis.zrangebyscore(open, 0, Date.now() - lateMs, "LIMIT", from, limit);
    },
  };
}
