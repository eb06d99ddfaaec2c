// That a job is on a replica: what is said without one, and together. With one that fails: test/faults/failover.ts.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createConfirm } from "./confirm.ts";
import { newJobId } from "./keys.ts";
import type { TestLedger } from "./testing.ts";
import { openTestLedger } from "./testing.ts";

let open: TestLedger;
beforeAll(async () => {
  open = await openTestLedger();
});
afterAll(() => open.close());

const input = { messages: [{ role: "user" as const, content: "What is this?" }], options: {} };

async function submit(): Promise<string> {
  const job = { tenant: "default", model: "nano", version: "nano@1", input, metadata: {} };
  return (await open.ledger.submit(job)).id;
}

const confirmBy = (replicas: number) =>
  createConfirm(open.redis, open.keys, { shard: "0", replicas, timeoutMs: 50 });

test("without a replica nothing is confirmed, in time", async () => {
  const confirm = confirmBy(1);
  const ids = await Promise.all([submit(), submit()]);
  const before = performance.now();
  expect(await Promise.all(ids.map(confirm))).toEqual([false, false]);
  expect(performance.now() - before).toBeLessThan(1_000);
});

test("what is asked for together is answered for each: a job that is gone is not confirmed", async () => {
  const confirm = confirmBy(0);
  const id = await submit();
  const asked = [id, newJobId("0"), await submit()].map(confirm);
  expect(await Promise.all(asked)).toEqual([true, false, true]);
  expect(await confirm(id)).toBe(true);
});

test("an error goes to all who asked together, and not to those who come later", async () => {
  const confirm = confirmBy(0);
  const id = await submit();
  await open.redis.set(open.keys.job("job_0_wrong"), "no hash");
  const [first, second] = await Promise.allSettled([confirm("job_0_wrong"), confirm(id)]);
  expect([first.status, second.status]).toEqual(["rejected", "rejected"]);
  expect(await confirm(id)).toBe(true);
});
