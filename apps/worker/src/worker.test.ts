// What a worker does with entries of its queue that are not as this release writes them.
import type { GenerateRequest, Piece } from "@glimpse/engine";
import { openTestLedger } from "@glimpse/ledger/testing";
import type { TestLedger } from "@glimpse/ledger/testing";
import { createLogger } from "@glimpse/telemetry";
import { Queue } from "bullmq";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readConfig } from "./config.ts";
import { startWorker } from "./worker.ts";

let open: TestLedger;
let queue: Queue;
let worker: Awaited<ReturnType<typeof startWorker>>;
let running = 0;
let mostRunning = 0;
/** How many ran when the job that asks "suspect?" began, and when it ended. */
let besideSuspect: number[] = [];

/** Answers "yes" after 100 ms. */
async function* generate({ messages }: GenerateRequest): AsyncGenerator<Piece> {
  const isSuspect = messages[0]?.content === "suspect?";
  mostRunning = Math.max(mostRunning, ++running);
  if (isSuspect) besideSuspect.push(running);
  await sleep(100);
  if (isSuspect) besideSuspect.push(running);
  running--;
  yield { type: "delta", text: "yes" };
  const usage = { promptTokens: 1, imageTokens: 0, cachedTokens: 0, completionTokens: 1 };
  const timings = { preprocessMs: 0, visionMs: 0, firstTokenMs: 0, totalMs: 0 };
  yield { type: "end", finishReason: "stop", outputTokenIds: [], usage, timings };
}

beforeEach(async () => {
  open = await openTestLedger();
  const config = readConfig({ REDIS_URL: open.url, KEY_PREFIX: open.prefix, SLOTS: "4" });
  const prefix = open.keys.queue("0");
  queue = new Queue(config.served.version, { connection: open.redis, prefix });
  const log = createLogger("test", "silent");
  const loopDelay = () => ({ p50: 0, p99: 0, max: 0 });
  mostRunning = 0;
  besideSuspect = [];
  worker = await startWorker({ config, engine: { generate }, log, loopDelay });
});
afterEach(async () => {
  await worker.stop();
  await queue.close();
  await open.close();
});

/** Submits to a queue that nobody serves: what is in the worker's own, the tests say. */
async function submit(content = "?"): Promise<string> {
  const input = { messages: [{ role: "user" as const, content }], options: {} };
  const job = { tenant: "t", model: "nano", version: "unserved@1", input, metadata: {} };
  return (await open.ledger.submit(job)).id;
}
const enqueue = (id: string, data: unknown) => queue.add("job", data, { jobId: id, priority: 5 });
const ends = (id: string, state: string) =>
  expect
    .poll(async () => (await open.ledger.read(id, "t"))?.state, { timeout: 10_000 })
    .toBe(state);

test("fields of a later release are no hindrance", async () => {
  const id = await submit();
  await enqueue(id, { id, version: "nano@1", kind: "generate", colour: "blue" });
  await ends(id, "succeeded");
  expect(worker.report()).toMatchObject({ ended: 1 });
});

test("a kind of a later release is parked for it, not failed", async () => {
  const id = await submit();
  await enqueue(id, { id, version: "nano@1", kind: "translate" });
  await expect.poll(() => queue.getDelayedCount(), { timeout: 5_000 }).toBe(1);
  expect(await open.ledger.read(id, "t")).toMatchObject({ state: "queued", attempt: 0 });
  expect((await queue.getJob(id))?.attemptsMade).toBe(0);
});

test("an entry that cannot be read fails its job at once and is not tried again", async () => {
  for (const data of [{ id: 7 }, null, "text"]) {
    const id = await submit();
    await enqueue(id, data);
    await ends(id, "failed");
    expect(await open.ledger.read(id, "t")).toMatchObject({ error: { code: "internal_error" } });
  }
  const garbled = await submit();
  await queue.pause();
  await enqueue(garbled, {});
  await open.redis.hset(queue.toKey(garbled), "data", "{ not JSON");
  await queue.resume();
  await ends(garbled, "failed");
  expect(await queue.getDelayedCount()).toBe(0);
});

test("a job whose record has gone or cannot be read holds up nobody", async () => {
  const [gone, garbled, fine] = [await submit(), await submit(), await submit()];
  await open.redis.del(open.keys.job(gone));
  await open.redis.hset(open.keys.job(garbled), "input", "{ not JSON");
  for (const id of [gone, garbled, fine]) await enqueue(id, { id, version: "nano@1" });
  await ends(fine, "succeeded");
  await ends(garbled, "failed");
  await expect
    .poll(() => queue.getJobCounts("active", "delayed", "failed"))
    .toEqual({ active: 0, delayed: 0, failed: 0 });
  expect(await open.ledger.read(gone, "t")).toBeNull();
});

test("a suspect is run with nobody beside it, and the others go on after it", async () => {
  const suspect = await submit("suspect?");
  await open.ledger.start(suspect);
  await open.ledger.suspect(suspect);
  const others = await Promise.all(Array.from({ length: 12 }, () => submit()));
  await Promise.all([suspect, ...others].map((id) => enqueue(id, { id, version: "nano@1" })));
  for (const id of [suspect, ...others]) await ends(id, "succeeded");
  expect(besideSuspect).toEqual([1, 1]);
  expect(mostRunning).toBe(4);
});
