import { defaultTenant } from "@glimpse/contracts";
import { Queue } from "bullmq";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sweepPending } from "./queue.ts";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
beforeEach(async () => {
  open = await openTestLedger();
});
afterEach(() => open.close());

const newJob = {
  tenant: defaultTenant,
  model: "nano",
  version: "nano@1",
  input: { messages: [{ role: "user" as const, content: "What?" }], options: {} },
  metadata: {},
};

async function waiting(): Promise<(string | undefined)[]> {
  const queue = new Queue("nano@1", { connection: open.redis, prefix: open.keys.queue("0") });
  const jobs = await queue.getJobs("wait");
  await queue.close();
  return jobs.map((job) => job.id);
}

test("a job recorded by somebody who died before enqueueing is swept into the queue once", async () => {
  const { ledger, queues } = open;
  const { id } = await ledger.submit(newJob);
  expect(await sweepPending(ledger, queues, 60_000)).toBe(0);
  expect(await waiting()).toEqual([]);
  expect(await sweepPending(ledger, queues, -1_000)).toBe(1);
  expect(await sweepPending(ledger, queues, -1_000)).toBe(0);
  expect(await waiting()).toEqual([id]);
});

test("adding a job twice adds it once, and a waiting job can be removed", async () => {
  const { ledger, queues } = open;
  const payload = { id: (await ledger.submit(newJob)).id, version: "nano@1" };
  await queues.enqueue(payload);
  await queues.enqueue(payload);
  expect(await waiting()).toEqual([payload.id]);
  await queues.remove(payload);
  expect(await waiting()).toEqual([]);
});

test("a mark whose job is gone is cleared", async () => {
  const { ledger, queues, redis, keys } = open;
  const { id } = await ledger.submit(newJob);
  await redis.del(keys.job(id));
  expect(await sweepPending(ledger, queues, -1_000)).toBe(0);
  expect(await ledger.pending(-1_000, 10)).toEqual([]);
});

test("a payload that is not a reference is refused", async () => {
  await expect(open.queues.enqueue({ id: "12", version: "nano@1" })).rejects.toThrow(
    "not a job id",
  );
});
