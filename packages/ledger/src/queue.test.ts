// What we rely on in BullMQ's keys, so that an upgrade that changes it is noticed here.
import { defaultTenant } from "@glimpse/contracts";
import { Queue, UnrecoverableError, Worker } from "bullmq";
import { afterEach, beforeEach, expect, test } from "vitest";
import { bullmqSteps } from "./bullmq-steps.ts";
import { newJobId } from "./keys.ts";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
let queue: Queue;
beforeEach(async () => {
  open = await openTestLedger();
  queue = new Queue("nano@1", { connection: open.redis, prefix: open.keys.queue("0") });
});
afterEach(async () => {
  await queue.close();
  await open.close();
});

const version = "nano@1";
const newJob = {
  tenant: defaultTenant,
  model: "nano",
  version,
  input: { messages: [{ role: "user" as const, content: "What?" }], options: {} },
  metadata: {},
};

const waiting = async () => (await queue.getPrioritized()).map((job) => job.id);
const newPayload = () => ({ id: newJobId("0"), version });

/** A worker's hands: takes the next job and holds it. */
async function take() {
  const worker = new Worker(version, null, {
    connection: open.redis,
    prefix: open.keys.queue("0"),
  });
  const job = await worker.getNextJob("token", { block: false });
  await worker.close();
  if (job === undefined) throw new Error("nothing to take");
  return job;
}

test("adding a job twice adds it once, and a waiting job can be removed", async () => {
  const { queues } = open;
  const payload = newPayload();
  await queues.enqueue(payload, 5);
  await queues.enqueue(payload, 5);
  expect(await waiting()).toEqual([payload.id]);
  await queues.remove(payload);
  expect(await waiting()).toEqual([]);
});

test("a submitted job is in the queue just as BullMQ itself would have it there", async () => {
  const { id, place } = await open.ledger.submit(newJob);
  const payload = newPayload();
  await open.queues.enqueue(payload, place);
  const [ours, theirs] = await Promise.all(
    [id, payload.id].map(async (job) => {
      const { timestamp, data, opts, ...rest } = await open.redis.hgetall(queue.toKey(job));
      expect(Math.abs(Number(timestamp) - Date.now())).toBeLessThan(60_000);
      const options = JSON.parse(opts!.replace(job, "the job")) as unknown;
      return { data: data!.replace(job, "the job"), options, ...rest };
    }),
  );
  expect(ours).toEqual(theirs);
  expect(await waiting()).toEqual([id, payload.id]);
});

test("BullMQ's steps inside ours write no events", () => {
  for (const step of Object.values(bullmqSteps)) expect(step).not.toMatch(/"X[A-Z]+"/);
});

test("a payload that is not a reference is refused", async () => {
  await expect(open.queues.enqueue({ id: "12", version }, 1)).rejects.toThrow("not a job id");
});

test("the queue holds what waits and what is being run, not what was given up or never added", async () => {
  const { queues } = open;
  const payload = newPayload();
  expect(await queues.holds(payload)).toBe(false);
  await queues.enqueue(payload, 5);
  expect(await queues.holds(payload)).toBe(true);
  const job = await take();
  expect(await queues.holds(payload)).toBe(true);
  await job.moveToFailed(new UnrecoverableError("no more"), "token");
  expect(await queues.holds(payload)).toBe(false);
  await queues.remove(payload);
  await queues.enqueue(payload, 5);
  expect(await queues.holds(payload)).toBe(true);
});

test("a job's position is how many are taken up to it: those that lost their worker, then by priority", async () => {
  const { queues } = open;
  const jobs = [newPayload(), newPayload(), newPayload(), newPayload()];
  for (const [i, priority] of [3, 1, 2, 2].entries()) await queues.enqueue(jobs[i]!, priority);
  const positions = () => Promise.all(jobs.map((job) => queues.position(job)));
  expect(await positions()).toEqual([4, 1, 2, 3]);
  await take();
  expect(await positions()).toEqual([3, null, 1, 2]);
  // As BullMQ does with a job whose lock has run out.
  await open.redis.rpush(queue.toKey("wait"), jobs[1]!.id);
  expect(await positions()).toEqual([4, 1, 2, 3]);
});

test("jobs that wait can be given other priorities", async () => {
  const { queues } = open;
  const jobs = [newPayload(), newPayload(), newPayload()];
  for (const job of jobs) await queues.enqueue(job, 7);
  const [first, second, third] = jobs.map(({ id }) => id);
  const expected: Record<string, number> = { [first!]: 9, [second!]: 7, [third!]: 2 };
  const reprioritize = () =>
    queues.reprioritize({ shard: "0", version }, async (id) => expected[id] ?? null);
  expect(await reprioritize()).toBe(2);
  expect(await waiting()).toEqual([third, second, first]);
  expect(await reprioritize()).toBe(0);
  // One that a worker holds waits with the new one if it comes back.
  const held = await take();
  expected[third!] = 8;
  expect(await reprioritize()).toBe(1);
  expect(await waiting()).toEqual([second, first]);
  await held.moveToWait("token");
  expect(await waiting()).toEqual([second, third, first]);
});
