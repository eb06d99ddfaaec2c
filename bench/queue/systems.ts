/** The three that are compared: a producer in this process, workers in another, and a way to know a job's answer. */
import { Queue, QueueEvents } from "bullmq";
import { Redis } from "ioredis";
import type { Child } from "./children.ts";
import { startChild } from "./children.ts";

/** Jobs that one worker runs at once. */
export const slots = 64;

export type System = {
  /** Hands over one job and resolves when its answer is here. */
  ask: () => Promise<void>;
  /** Hands over this many jobs, some at a time, and resolves when all are done. */
  run: (jobs: number) => Promise<void>;
  /** Its processes but for this one and Redis. */
  pids: () => Partial<Record<"api" | "worker", number[]>>;
  stop: () => Promise<void>;
};

/** How many jobs a producer has handed over and not yet seen accepted or, over HTTP, answered. */
const inFlight = 2 * slots;

/** Runs the task `times` times, `inFlight` at once. */
export async function many(times: number, task: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const one = async () => {
    while (next < times) await task(next++);
  };
  await Promise.all(Array.from({ length: inFlight }, one));
}

const bareFile = (name: "bullmq" | "redis") => new URL(`./bare-${name}.ts`, import.meta.url);

/** What BullMQ carries for us, and keeps. */
const payload = { id: `job_0_${"0".repeat(32)}`, version: "nano@1" };
const jobOptions = { attempts: 3, removeOnComplete: true };

export type Bullmq = System & {
  queue: Queue;
  worker: Child;
  /** Needed before `ask`, and not before: every producer that listens reads the events of all jobs. */
  listen: () => Promise<void>;
};

/** BullMQ as it comes, on a queue of this name; `workerUrl` is Redis as the worker sees it. */
export async function startBullmq(
  redisUrl: string,
  name = "bare",
  workerUrl = redisUrl,
): Promise<Bullmq> {
  const worker = await startChild(bareFile("bullmq"), {
    REDIS_URL: workerUrl,
    QUEUE: name,
    SLOTS: String(slots),
  });
  const connection = new Redis(redisUrl, { maxRetriesPerRequest: null });
  const queue = new Queue(name, { connection });
  const listening = connection.duplicate({ lazyConnect: true });
  const waiting = new Map<string, (answer: unknown) => void>();
  let events: QueueEvents | undefined;
  let asked = 0;
  return {
    queue,
    worker,
    pids: () => ({ worker: [worker.pid] }),
    async listen() {
      events = new QueueEvents(name, { connection: listening });
      events.on("completed", ({ jobId, returnvalue }) => waiting.get(jobId)?.(returnvalue));
      await events.waitUntilReady();
    },
    async ask() {
      const jobId = `asked-${++asked}`;
      const completed = new Promise<unknown>((resolve) => waiting.set(jobId, resolve));
      await queue.add("job", payload, { ...jobOptions, jobId });
      const answer = await completed;
      waiting.delete(jobId);
      if ((answer as { text?: string }).text !== "A circle.") throw new Error("no answer came");
    },
    async run(jobs) {
      const done = worker.ended(jobs);
      await many(jobs, () => queue.add("job", payload, jobOptions));
      await done;
    },
    async stop() {
      await worker.stop();
      await queue.close();
      await events?.close();
      for (const used of [connection, listening]) used.disconnect();
    },
  };
}

/** The same when each job's producer waits for its answer, as those do who call the whole path: BullMQ's own way to hear of it. */
export async function startAnsweringBullmq(redisUrl: string): Promise<Bullmq> {
  const bullmq = await startBullmq(redisUrl, "answering");
  await bullmq.listen();
  return { ...bullmq, run: (jobs) => many(jobs, bullmq.ask) };
}

export async function startBareRedis(redisUrl: string): Promise<System> {
  const worker = await startChild(bareFile("redis"), { REDIS_URL: redisUrl, SLOTS: String(slots) });
  const redis = new Redis(redisUrl);
  const listening = redis.duplicate();
  const waiting = new Map<string, () => void>();
  await listening.subscribe("done");
  listening.on("message", (_, job) => waiting.get(job)?.());
  let jobs = 0;
  const push = () => {
    const job = JSON.stringify({ ...payload, number: ++jobs });
    return { job, pushed: redis.lpush("wait", job) };
  };
  return {
    pids: () => ({ worker: [worker.pid] }),
    async ask() {
      const { job } = push();
      await new Promise<void>((resolve) => waiting.set(job, resolve));
      waiting.delete(job);
      await redis.get(`result:${job}`);
    },
    async run(count) {
      const done = worker.ended(count);
      await many(count, () => push().pushed);
      await done;
    },
    async stop() {
      await worker.stop();
      redis.disconnect();
      listening.disconnect();
    },
  };
}
