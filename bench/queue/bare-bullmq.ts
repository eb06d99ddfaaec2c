/** What the whole path is measured against: BullMQ as it comes, with jobs that take no time unless they say how much. */
import { Worker } from "bullmq";
import { Redis } from "ioredis";
import { setTimeout as sleep } from "node:timers/promises";
import { createAnswering } from "./answering.ts";

const answering = createAnswering();
const redis = new Redis(process.env.REDIS_URL ?? "", { maxRetriesPerRequest: null });
const worker = new Worker(
  process.env.QUEUE ?? "",
  async (job) => {
    answering.began();
    const { ms = 0 } = job.data as { ms?: number };
    if (ms > 0) await sleep(ms);
    return { text: "A circle." };
  },
  { connection: redis, concurrency: Number(process.env.SLOTS) },
);
worker.on("completed", () => answering.ended());
process.once("SIGTERM", () => process.exit(0));
await worker.waitUntilReady();
answering.ready();
