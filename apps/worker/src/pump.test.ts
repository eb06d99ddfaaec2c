// What we rely on in BullMQ, so that an upgrade that changes it is noticed here.
import { openTestLedger } from "@glimpse/ledger/testing";
import type { TestLedger } from "@glimpse/ledger/testing";
import type { Job, Processor } from "bullmq";
import { DelayedError, Queue, UnrecoverableError, WaitingError } from "bullmq";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { PumpOptions } from "./pump.ts";
import { Pump } from "./pump.ts";

let open: TestLedger;
let queue: Queue;
const pumps: Pump[] = [];

beforeEach(async () => {
  open = await openTestLedger();
  queue = new Queue("q", { connection: open.redis, prefix: open.keys.queue("0") });
});
afterEach(async () => {
  for (const pump of pumps.splice(0)) await pump.close(true);
  await queue.close();
  await open.close();
});

function start(processor: Processor, options: Omit<Partial<PumpOptions>, "name"> = {}): Pump {
  const pump = new Pump("q", processor, {
    connection: open.redis,
    prefix: open.keys.queue("0"),
    name: "pump",
    concurrency: 1,
    drainDelay: 1,
    onPoisoned: async () => {},
    ...options,
  });
  pumps.push(pump);
  pump.on("error", () => {});
  void pump.run();
  return pump;
}

async function add(count: number): Promise<void> {
  const jobs = Array.from({ length: count }, (_, i) => ({
    name: "job",
    data: { i },
    opts: { jobId: `job_${i}` },
  }));
  await queue.addBulk(jobs);
}

test("every job is processed once, never more at a time than there are slots", async () => {
  let [running, most] = [0, 0];
  const seen: number[] = [];
  start(
    async (job: Job<{ i: number }>) => {
      most = Math.max(most, ++running);
      seen.push(job.data.i);
      await sleep(2);
      running--;
    },
    { concurrency: 8 },
  );
  await add(100);
  await expect.poll(() => queue.getCompletedCount(), { timeout: 10_000 }).toBe(100);
  expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(most).toBe(8);
});

test("an empty queue is waited for, not polled", async () => {
  const pump = start(async () => {}, { concurrency: 4 });
  const fetches = vi.spyOn(pump, "getNextJob");
  await sleep(2_500);
  expect(fetches.mock.calls.length).toBeGreaterThan(1);
  expect(fetches.mock.calls.length).toBeLessThan(12);
});

test("a lock is renewed for as long as the job runs", async () => {
  const attempts: number[] = [];
  const processor = async (job: Job) => {
    attempts.push(job.attemptsStarted);
    await sleep(1_500);
  };
  const options = { lockDuration: 400, stalledInterval: 200 };
  start(processor, options);
  start(processor, options);
  await add(1);
  await expect.poll(() => queue.getCompletedCount(), { timeout: 5_000 }).toBe(1);
  expect(attempts).toEqual([1]);
});

test("a job that stalls too often is not run again, and who runs the pump is told", async () => {
  const poisoned: (string | undefined)[] = [];
  await add(1);
  // A holder that dies: it takes the job and never renews its lock.
  const holder = new Pump("q", async () => {}, {
    connection: open.redis,
    prefix: open.keys.queue("0"),
    name: "holder",
    concurrency: 1,
    lockDuration: 100,
    onPoisoned: async () => {},
  });
  pumps.push(holder);
  await holder.waitUntilReady();
  await holder.getNextJob("dead", { block: false });
  let runs = 0;
  const processor = async () => {
    runs++;
  };
  start(processor, {
    maxStalledCount: 0,
    stalledInterval: 150,
    onPoisoned: async (job) => {
      poisoned.push(job.id);
    },
  });
  await expect.poll(() => queue.getFailedCount(), { timeout: 5_000 }).toBe(1);
  expect([poisoned, runs]).toEqual([["job_0"], 0]);
});

test("while no more may be taken, none is, though slots are free; then it goes on", async () => {
  let mayTake = true;
  let finish = () => {};
  const seen: (string | undefined)[] = [];
  const processor = async (job: Job) => {
    seen.push(job.id);
    if (job.id !== "job_0") return;
    mayTake = false;
    await new Promise<void>((resolve) => (finish = resolve));
    mayTake = true;
  };
  start(processor, { concurrency: 4, mayTake: () => mayTake });
  await add(1);
  await expect.poll(() => seen).toEqual(["job_0"]);
  await queue.add("job", {}, { jobId: "job_1" });
  await queue.add("job", {}, { jobId: "job_2" });
  await queue.add("job", {}, { jobId: "job_3" });
  await sleep(300);
  // One fetch was waiting already when the door closed.
  expect(seen.length).toBeLessThanOrEqual(2);
  finish();
  await expect.poll(() => queue.getCompletedCount(), { timeout: 5_000 }).toBe(4);
});

test("a lock's token begins with the pump's name", async () => {
  start(() => sleep(500));
  await add(1);
  await expect.poll(() => queue.getActiveCount()).toBe(1);
  expect(await open.redis.get(`${queue.toKey("job_0")}:lock`)).toMatch(/^pump:/);
});

test("data that is not JSON comes to the processor as none, once, and holds up nobody", async () => {
  const seen: unknown[] = [];
  await add(2);
  await open.redis.hset(queue.toKey("job_0"), "data", "{ not JSON");
  start(async (job: Job) => {
    seen.push(job.data);
    if (job.data === null) throw new UnrecoverableError("unreadable");
  });
  await expect.poll(() => queue.getCompletedCount(), { timeout: 5_000 }).toBe(1);
  await expect.poll(() => queue.getFailedCount()).toBe(1);
  expect(seen).toEqual([null, { i: 1 }]);
});

test("close waits for what runs and takes nothing new", async () => {
  const done: (string | undefined)[] = [];
  const pump = start(async (job: Job) => {
    await sleep(400);
    done.push(job.id);
  });
  await add(2);
  await expect.poll(() => pump.inFlight).toBe(1);
  await pump.close();
  expect(done).toEqual(["job_0"]);
  expect(await queue.getWaitingCount()).toBe(1);
});

test("close interrupts the wait for jobs", async () => {
  const pump = start(async () => {}, { drainDelay: 5 });
  await sleep(300);
  const startedAt = performance.now();
  await pump.close();
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});

test("a job put off is not run before its time, and no try is spent", async () => {
  const startedAt = performance.now();
  const runs: number[] = [];
  start(async (job: Job, token) => {
    runs.push(performance.now() - startedAt);
    if (runs.length > 1) return;
    await job.moveToDelayed(Date.now() + 800, token);
    throw new DelayedError();
  });
  await add(1);
  await expect.poll(() => queue.getCompletedCount(), { timeout: 5_000 }).toBe(1);
  expect(runs.length).toBe(2);
  expect(runs[1]! - runs[0]!).toBeGreaterThan(700);
  expect((await queue.getJob("job_0"))?.attemptsMade).toBe(1);
});

test("a job handed back is the next one taken, with no try spent", async () => {
  let first = true;
  const order: (string | undefined)[] = [];
  start(async (job: Job, token) => {
    order.push(job.id);
    if (!first) return;
    first = false;
    await job.moveToWait(token);
    throw new WaitingError();
  });
  await add(2);
  await expect.poll(() => queue.getCompletedCount(), { timeout: 5_000 }).toBe(2);
  expect(order).toEqual(["job_0", "job_0", "job_1"]);
  expect((await queue.getJob("job_0"))?.attemptsMade).toBe(1);
});
