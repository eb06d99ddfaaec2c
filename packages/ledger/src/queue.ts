/** The queue's front: one BullMQ queue a version. Payloads are references; what a job needs is in the ledger. */
import type { QueuePayload } from "@glimpse/contracts";
import { queuePayload } from "@glimpse/contracts";
import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { setTimeout as sleep } from "node:timers/promises";
import type { Keys } from "./keys.ts";
import { shardOf } from "./keys.ts";
import type { Ledger } from "./ledger.ts";

export type Queues = ReturnType<typeof createQueues>;

/** What BullMQ keeps of a job: nothing once it is done, since the ledger has it all. */
const jobOptions = {
  attempts: 3,
  backoff: { type: "fixed", delay: 1_000 },
  removeOnComplete: true,
  removeOnFail: { age: 3_600, count: 1_000 },
} as const;

/** Queues on one connection, opened as they are needed. */
export function createQueues(redis: Redis, keys: Keys, options: { timeoutMs: number }) {
  const queues = new Map<string, Queue>();

  function open(shard: string, version: string): Queue {
    const name = `${keys.queue(shard)} ${version}`;
    let queue = queues.get(name);
    if (queue === undefined) {
      queue = new Queue(version, { connection: redis, prefix: keys.queue(shard) });
      queue.on("error", () => {}); // the connection's own listener has it
      queues.set(name, queue);
    }
    return queue;
  }

  /** BullMQ waits for ever for a connection, and a queue that failed to open stays so: hence a time limit and a new queue after an error. */
  async function use<T>(
    { id, version }: QueuePayload,
    action: (queue: Queue) => Promise<T>,
  ): Promise<T> {
    const queue = open(shardOf(id), version);
    const limit = new AbortController();
    try {
      const late = sleep(options.timeoutMs, undefined, { signal: limit.signal }).then(() => {
        throw new Error("Command timed out");
      });
      return await Promise.race([action(queue), late]);
    } catch (error) {
      queues.delete(`${keys.queue(shardOf(id))} ${version}`);
      queue.close().catch(() => {});
      throw error;
    } finally {
      limit.abort();
    }
  }

  return {
    /** Adds the job; adding it again while it is there changes nothing. */
    async enqueue(payload: QueuePayload): Promise<void> {
      const data = queuePayload.parse(payload);
      await use(data, (queue) => queue.add("job", data, { ...jobOptions, jobId: data.id }));
    },

    /** Removes a job that waits. One that a worker holds is left to it. */
    async remove(payload: QueuePayload): Promise<void> {
      await use(payload, (queue) => queue.remove(payload.id));
    },

    async close(): Promise<void> {
      await Promise.allSettled([...queues.values()].map((queue) => queue.close()));
    },
  };
}

/**
 * Enqueues jobs that were recorded but not enqueued because somebody died in between. Safe to run anywhere, any number of times.
 * Returns how many it enqueued.
 */
export async function sweepPending(
  ledger: Ledger,
  queues: Queues,
  olderThanMs = 2_000,
): Promise<number> {
  let enqueued = 0;
  for (const { id, version } of await ledger.pending(olderThanMs, 100)) {
    if (version !== null) {
      await queues.enqueue({ id, version });
      enqueued++;
    }
    await ledger.clearPending(id);
  }
  return enqueued;
}
