/**
 * The least that plain Redis must do for a queue that loses nothing: a job is in a list until it is taken, then in another
 * until its result is written, and whoever waits is told.
 */
import { Redis } from "ioredis";
import { createAnswering } from "./answering.ts";

const answering = createAnswering();
const slots = Number(process.env.SLOTS);
const redis = new Redis(process.env.REDIS_URL ?? "");
const blocking = redis.duplicate();
let running = 0;

async function perform(job: string): Promise<void> {
  running++;
  answering.began();
  const result = JSON.stringify({ text: "A circle." });
  await redis
    .pipeline()
    .set(`result:${job}`, result, "EX", 60)
    .lrem("active", 1, job)
    .publish("done", job)
    .exec();
  running--;
  answering.ended();
}

async function take(): Promise<boolean> {
  const job = await redis.rpoplpush("wait", "active");
  if (job !== null) void perform(job);
  return job !== null;
}

process.once("SIGTERM", () => process.exit(0));
answering.ready();
for (;;) {
  const first = await blocking.blmove("wait", "active", "RIGHT", "LEFT", 0);
  if (first !== null) void perform(first);
  let found = true;
  while (found) {
    const fetches = Array.from({ length: Math.max(1, slots - running) }, take);
    found = (await Promise.all(fetches)).includes(true);
  }
}
