/** How soon 64 free slots run 64 jobs that came at once, when Redis is 2.4 ms away. */
import { createKeys } from "@glimpse/ledger";
import { startProxy } from "@glimpse/test/proxy";
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { setTimeout as sleep } from "node:timers/promises";
import { median, round } from "../engine/measure.ts";
import { many, slots, startBullmq } from "./systems.ts";
import type { Whole } from "./whole.ts";

const roundTripMs = 2.4;
/** Long enough that none ends while others begin. */
const jobMs = 400;

export type Fill = {
  /** As measured through the proxy. */
  roundTripMs: number;
  wholeMs: number;
  bullmqMs: number;
};

/** Exchanges the worker of `whole`. */
export async function measureFill(whole: Whole, redisUrl: string, rounds: number): Promise<Fill> {
  const proxy = await startProxy(Number(new URL(redisUrl).port));
  proxy.delay(roundTripMs / 2);
  const connection = new Redis(redisUrl, { maxRetriesPerRequest: null });
  const queue = new Queue("nano@1", { connection, prefix: createKeys("bench").queue("0") });
  const bullmq = await startBullmq(redisUrl, "filled", proxy.url);
  try {
    await whole.hire(1, slots, proxy.url);
    whole.take(jobMs);
    const wholeMs: number[] = [];
    const bullmqMs: number[] = [];
    for (let i = 0; i < rounds; i++) {
      await whole.starts();
      wholeMs.push(
        await fillFrom(
          queue,
          () => many(slots, whole.submit),
          () => whole.starts(),
        ),
      );
      await sleep(1_000);
      await bullmq.worker.starts();
      const add = () =>
        many(slots, () => bullmq.queue.add("job", { ms: jobMs }, { removeOnComplete: true }));
      bullmqMs.push(await fillFrom(bullmq.queue, add, () => bullmq.worker.starts()));
    }
    return {
      roundTripMs: round(await measureRoundTrip(proxy.url), 1),
      wholeMs: round(median(wholeMs), 1),
      bullmqMs: round(median(bullmqMs), 1),
    };
  } finally {
    await bullmq.stop();
    await queue.close();
    connection.disconnect();
    await whole.hire(0, slots);
    proxy.close();
  }
}

/** Milliseconds from the moment the queue is opened until all of the jobs that wait in it have been begun. */
async function fillFrom(
  queue: Queue,
  add: () => Promise<void>,
  starts: () => Promise<number[]>,
): Promise<number> {
  await queue.pause();
  await add();
  await sleep(300);
  const openedAt = performance.timeOrigin + performance.now();
  await queue.resume();
  const started: number[] = [];
  while (started.length < slots) {
    await sleep(100);
    started.push(...(await starts()));
  }
  return Math.max(...started) - openedAt;
}

async function measureRoundTrip(url: string): Promise<number> {
  const redis = new Redis(url);
  const values: number[] = [];
  for (let i = 0; i < 50; i++) {
    const start = performance.now();
    await redis.ping();
    values.push(performance.now() - start);
  }
  redis.disconnect();
  return median(values);
}
