/** The queue's front: one BullMQ queue a version. Payloads are references; what a job needs is in the ledger. */
import type { QueuePayload } from "@glimpse/contracts";
import { queuePayload } from "@glimpse/contracts";
import { Job, Queue } from "bullmq";
import type { Redis } from "ioredis";
import type { Keys } from "./keys.ts";
import { shardOf } from "./keys.ts";
import { jobOptions } from "./bullmq-steps.ts";

export type Queues = ReturnType<typeof createQueues>;

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
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error("Command timed out")), options.timeoutMs);
      });
      return await Promise.race([action(queue), late]);
    } catch (error) {
      queues.delete(`${keys.queue(shardOf(id))} ${version}`);
      queue.close().catch(() => {});
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    /** Adds the job; adding it again while it is there changes nothing. Lower priorities go first; 1 is the lowest. */
    async enqueue(payload: QueuePayload, priority: number): Promise<void> {
      const data = queuePayload.parse(payload);
      const options = { ...jobOptions, jobId: data.id, priority };
      await use(data, (queue) => queue.add("job", data, options));
    },

    /** Removes a job that waits. One that a worker holds is left to it. */
    async remove(payload: QueuePayload): Promise<void> {
      await use(payload, (queue) => queue.remove(payload.id));
    },

    /** Whether a worker has the job or will get it. False also for one that BullMQ has given up. */
    async holds({ id, version }: QueuePayload): Promise<boolean> {
      const entry = open(shardOf(id), version).toKey(id);
      const [added, ended] = await redis.hmget(entry, "timestamp", "finishedOn");
      return added !== null && ended === null;
    },

    /** How many jobs will be taken up to and with this one; null when it does not wait. */
    async position({ id, version }: QueuePayload): Promise<number | null> {
      const queue = open(shardOf(id), version);
      const [first, rank] = await Promise.all([
        redis.llen(queue.toKey("wait")),
        redis.zrank(queue.toKey("prioritized"), id),
      ]);
      if (rank !== null) return first + rank + 1;
      // Those that lost their worker wait in a list, which is taken from its end and before all others.
      const index = await redis.lpos(queue.toKey("wait"), id);
      return index === null ? null : first - index;
    },

    /** Gives all jobs that wait, or may have to wait again, the priority that `expected` says (null: leave it), the next to be taken first. Returns how many were changed. */
    async reprioritize(
      { shard, version }: { shard: string; version: string },
      expected: (id: string) => Promise<number | null>,
    ): Promise<number> {
      const queue = open(shard, version);
      let changed = 0;
      const lists = await Promise.all([
        redis.zrange(queue.toKey("prioritized"), "0", "-1"),
        redis.zrange(queue.toKey("delayed"), "0", "-1"),
        redis.lrange(queue.toKey("active"), 0, -1),
      ]);
      for (const id of lists.flat()) {
        const priority = await expected(id);
        const known = await redis.hget(queue.toKey(id), "priority");
        if (priority === null || known === null || Number(known) === priority) continue;
        await Job.fromId(queue, id).then((job) => job?.changePriority({ priority }));
        changed++;
      }
      return changed;
    },

    async close(): Promise<void> {
      await Promise.allSettled([...queues.values()].map((queue) => queue.close()));
    },
  };
}
