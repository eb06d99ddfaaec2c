// Whose turn it is, seen from a worker that takes one job after the other from BullMQ.
import { Worker } from "bullmq";
import type { Job } from "bullmq";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Standing } from "./submit.ts";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
let worker: Worker;
/** Tenant, or tenant and priority, of each job that was run, in order. */
let order: string[];
let names: Map<string, string>;
let postponed: number;
beforeEach(async () => {
  open = await openTestLedger();
  worker = new Worker("nano@1", null, {
    connection: open.redis,
    prefix: open.keys.queue("0"),
  });
  [order, names, postponed] = [[], new Map(), 0];
});
afterEach(async () => {
  await worker.close();
  await open.close();
});

const newJob = {
  model: "nano",
  version: "nano@1",
  input: { messages: [{ role: "user" as const, content: "What?" }], options: {} },
  metadata: {},
};

async function submit(tenant: string, count: number, standing: Standing = {}): Promise<void> {
  for (let i = 0; i < count; i++) {
    const { id } = await open.ledger.submit({ ...newJob, tenant, standing });
    names.set(id, standing.priority === undefined ? tenant : `${tenant} ${standing.priority}`);
  }
}

/** Takes and ends jobs until so many more have run. */
async function run(count: number): Promise<void> {
  const until = order.length + count;
  while (order.length < until) {
    const job = (await worker.getNextJob("token", { block: false })) as Job<{ id: string }>;
    const started = await open.ledger.start(job.data.id);
    if (started !== null && "postponed" in started) {
      postponed++;
      await job.changePriority({ priority: started.postponed });
      await job.moveToWait("token");
      continue;
    }
    if (started === null || !("attempt" in started)) throw new Error("did not start");
    order.push(names.get(job.data.id)!);
    await open.ledger.finish(started, { state: "succeeded" });
    await job.moveToCompleted(null, "token", false);
  }
}

const count = (name: string, from: number, to: number) =>
  order.slice(from, to).filter((one) => one === name).length;

test("a tenant's five hundred jobs do not delay the first ones of others", async () => {
  await submit("a", 500);
  await run(153);
  await submit("b", 20);
  await submit("c", 20);
  await run(100);
  const ends = ["b", "c"].map((tenant) => order.lastIndexOf(tenant) + 1);
  console.log(
    `500 of a, after 153 of them 20 of b and 20 of c: b ends at ${ends[0]}, c at ${ends[1]}`,
  );
  const fair = 153 + 3 * 20;
  for (const end of ends) expect(Math.abs(end - fair)).toBeLessThanOrEqual(fair * 0.1);
});

test("shares are as weights, and who was away has no credit", async () => {
  await submit("heavy", 90, { weight: 3 });
  await submit("light", 60);
  await run(60);
  expect(count("heavy", 0, 60)).toBeGreaterThanOrEqual(44);
  expect(count("heavy", 0, 60)).toBeLessThanOrEqual(46);
  await submit("late", 30);
  await run(50);
  // Of 5 shares one is the newcomer's, from when it came and not from the beginning.
  expect(count("late", 60, 110)).toBeGreaterThanOrEqual(9);
  expect(count("late", 60, 110)).toBeLessThanOrEqual(11);
});

test("within a tenant all of a higher level go first, in the order in which they came, and nobody else pays", async () => {
  await submit("a", 30, { priority: "low" });
  await submit("a", 30, { priority: "normal" });
  await submit("b", 90);
  await run(20);
  await submit("a", 30, { priority: "high" });
  await run(160);
  const own = order.filter((name) => name.startsWith("a"));
  // Those that ran before the others came are not taken back.
  expect(own.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => "a normal"));
  const rest = own.slice(10).map((name) => name.slice(2));
  expect(rest.slice(0, 30)).toEqual(Array.from({ length: 30 }, () => "high"));
  expect(rest.slice(30, 50)).toEqual(Array.from({ length: 20 }, () => "normal"));
  expect(new Set(rest.slice(50))).toEqual(new Set(["low"]));
  for (let from = 0; from + 20 <= 160; from += 20) {
    expect(count("b", from, from + 20), `b's share from ${from}`).toBeGreaterThanOrEqual(9);
    expect(count("b", from, from + 20), `b's share from ${from}`).toBeLessThanOrEqual(11);
  }
  console.log(`180 jobs of mixed priorities: ${postponed} taken once too early`);
  expect(postponed).toBeLessThanOrEqual(100);
});

test("a tenant may have so many jobs that have not ended, and one more when one has", async () => {
  const standing = { maxActive: 3 };
  await submit("a", 3, standing);
  const refused = await open.ledger.submit({ ...newJob, tenant: "a", standing });
  expect(refused.outcome).toBe("full");
  expect(await open.ledger.read(refused.id, "a")).toBeNull();
  expect(await open.ledger.submit({ ...newJob, tenant: "a2", standing })).toMatchObject({
    outcome: "created",
  });
  await run(1);
  expect(await open.ledger.submit({ ...newJob, tenant: "a", standing })).toMatchObject({
    outcome: "created",
  });
});

test("a job that has a webhook gets an entry in the outbox when it ends, others do not", async () => {
  const job = { ...newJob, tenant: "a" };
  const webhook = {
    url: "https://example.test/hook",
    events: ["job.canceled"],
    payload: "thin" as const,
  };
  const told = await open.ledger.submit({ ...job, webhook });
  const untold = await open.ledger.submit(job);
  await open.ledger.cancel(told.id, "a");
  await open.ledger.cancel(untold.id, "a");
  const entries = await open.redis.xrange(open.keys.outbox("0"), "-", "+");
  expect(entries.map(([, fields]) => fields)).toEqual([
    [
      "job",
      told.id,
      "event",
      "1",
      "state",
      "canceled",
      "tenant",
      "a",
      "webhook",
      JSON.stringify(webhook),
    ],
  ]);
});
