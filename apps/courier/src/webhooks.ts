/** Everything about webhooks put together: the outbox is emptied into deliveries, and those that are due are tried. */
import { setTimeout as sleep } from "node:timers/promises";
import type { connectRedis, Keys, Ledger } from "@glimpse/ledger";
import { createDeliveries, createEndpoints, createOutbox } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import type { Config } from "./config.ts";
import { createDeliver } from "./deliver.ts";
import { createDispatch } from "./dispatch.ts";
import { createLanes } from "./lanes.ts";
import { createDeliveryQueue } from "./queue.ts";
import { createSend } from "./send.ts";

type Redis = ReturnType<typeof connectRedis>;

export type WebhooksDeps = {
  redis: Redis;
  /** Held by whoever waits for the outbox. */
  waiting: Redis;
  keys: Keys;
  ledger: Ledger;
  shard: string;
  config: Config["webhooks"];
  log: Logger;
};

const page = 200;
const waitMs = 5_000;
const errorDelayMs = 1_000;

/** Entries that somebody has taken for longer than this were lost with him. */
const lostAfterMs = 10_000;

/** A pending delivery this late is either held up by its receiver or lost to the queue. */
const lateMs = 5_000;

export function startWebhooks({ redis, waiting, keys, ledger, shard, config, log }: WebhooksDeps) {
  const deliveries = createDeliveries(redis, keys, { shard, keptS: config.keptS });
  const endpoints = createEndpoints(redis, keys, { shard });
  const outbox = createOutbox(redis, waiting, keys, { shard });
  const queue = createDeliveryQueue(redis, keys, { shard, log });
  const sendInLane = createLanes(createSend(config), config.lanes);
  const { maxBytes } = config;
  const { enqueue } = queue;
  const dispatching = { shard, ledger, deliveries, endpoints, enqueue, sendInLane, maxBytes, log };
  const dispatch = createDispatch(dispatching);
  const deliver = createDeliver({ ...config, deliveries, endpoints, sendInLane, log });
  const worker = queue.work(deliver, config.concurrency);
  const stopping = new AbortController();

  async function emptyOutbox(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await outbox.done(await dispatch(await outbox.take(page, waitMs)));
      } catch (error) {
        if (stopping.signal.aborted) return;
        log.warn({ error }, "the outbox could not be read");
        await sleep(errorDelayMs);
      }
    }
  }
  const emptying = emptyOutbox();

  return {
    /** Dispatches what somebody has taken from the outbox and not done. Returns how many entries. */
    async retake(idleMs = lostAfterMs): Promise<number> {
      const done = await dispatch(await outbox.retake(page, idleMs));
      await outbox.done(done);
      return done.length;
    },

    /** Enqueues pending deliveries that are late and that the queue does not hold. Returns how many. */
    async overdue(late = lateMs): Promise<number> {
      let enqueued = 0;
      for (let from = 0; ; from += page) {
        const ids = await deliveries.overdue(late, page, from);
        const lost = await Promise.all(ids.map(async (id) => !(await queue.holds(id))));
        for (const id of ids.filter((_, i) => lost[i])) {
          await enqueue(id);
          enqueued++;
        }
        if (ids.length < page) return enqueued;
      }
    },

    /** Tries that are being made come to their end; what is not done goes on in another courier. */
    async stop(): Promise<void> {
      stopping.abort();
      waiting.disconnect();
      await Promise.all([emptying, worker.close()]);
      await queue.close();
    },
  };
}
