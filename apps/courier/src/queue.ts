/** The queue of deliveries that are due, on BullMQ: when each is taken up. What is known of a delivery is in the ledger. */
import { deliveryPayload } from "@glimpse/contracts";
import type { Keys } from "@glimpse/ledger";
import { isRedisUnavailable } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import type { ConnectionOptions, Job } from "bullmq";
import { DelayedError, Queue, Worker } from "bullmq";

/** Beside the versions' queues, whose names have an @. */
const name = "deliveries";

/** After an error, which is ours or Redis's, a delivery is taken up again. */
const errorDelayMs = 2_000;

export function createDeliveryQueue(
  connection: ConnectionOptions & { exists(key: string): Promise<number> },
  keys: Keys,
  { shard, log }: { shard: string; log: Logger },
) {
  const prefix = keys.queue(shard);
  const queue = new Queue(name, { connection, prefix });
  queue.on("error", () => {}); // the connection's own listener has it

  return {
    /** Again while it is there changes nothing. */
    enqueue: async (id: string): Promise<void> => {
      const settings = { jobId: id, removeOnComplete: true, removeOnFail: true };
      await queue.add(name, { id }, settings);
    },

    /** Whether it will be taken up. */
    holds: async (id: string): Promise<boolean> => (await connection.exists(queue.toKey(id))) === 1,

    /** Takes deliveries up, many at once, each as often as `deliver` says. Returns what ends that. */
    work(
      deliver: (id: string, takenUp: number) => Promise<number | null>,
      concurrency: number,
    ): { close(): Promise<void> } {
      async function takeUp(job: Job, token?: string): Promise<void> {
        const { id } = deliveryPayload.parse(job.data);
        let delayMs: number | null;
        try {
          delayMs = await deliver(id, job.attemptsStarted);
        } catch (error) {
          if (!isRedisUnavailable(error)) log.error({ error, delivery: id }, "a delivery broke");
          delayMs = errorDelayMs * (1 + Math.random());
        }
        if (delayMs === null) return;
        await job.moveToDelayed(Date.now() + delayMs, token);
        throw new DelayedError();
      }
      const worker = new Worker(name, takeUp, {
        connection,
        prefix,
        concurrency,
        // A killed courier's deliveries are taken up when its locks have run out and somebody has looked.
        lockDuration: 6_000,
        stalledInterval: 2_000,
        // That couriers die says nothing of the delivery.
        maxStalledCount: Number.MAX_SAFE_INTEGER,
        runRetryDelay: 1_000,
        drainDelay: 5,
      });
      worker.on("error", (error) => {
        if (!isRedisUnavailable(error)) log.warn({ error }, "queue of deliveries");
      });
      return worker;
    },

    close: () => queue.close(),
  };
}
