import { defaultTenant } from "@glimpse/contracts";
import { openTestLedger } from "@glimpse/ledger/testing";
import type { TestLedger } from "@glimpse/ledger/testing";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Sweeps } from "./sweep.ts";
import { createSweeps } from "./sweep.ts";

let open: TestLedger;
let sweeps: Sweeps;
beforeEach(async () => {
  open = await openTestLedger();
  sweeps = createSweeps({ ...open, shard: "0" });
});
afterEach(() => open.close());

const version = "nano@1";
const newJob = {
  tenant: defaultTenant,
  model: "nano",
  version,
  input: { messages: [{ role: "user" as const, content: "What?" }], options: {} },
  metadata: {},
};

async function submit(more = {}): Promise<string> {
  return (await open.ledger.submit({ ...newJob, ...more })).id;
}

/** As an older release leaves a job that it had recorded when it died, and would have enqueued next. */
async function recordOnly(): Promise<string> {
  const id = await submit();
  await open.queues.remove({ id, version });
  await open.redis.zadd(open.keys.pending("0"), Date.now(), id);
  return id;
}

const read = (id: string) => open.ledger.read(id, defaultTenant);
const holds = (id: string) => open.queues.holds({ id, version });

test("a job recorded by somebody who died before enqueueing is swept into the queue once", async () => {
  const id = await recordOnly();
  expect(await sweeps.pending(60_000)).toBe(0);
  expect(await holds(id)).toBe(false);
  expect(await sweeps.pending(-1_000)).toBe(1);
  expect(await holds(id)).toBe(true);
  expect(await sweeps.pending(-1_000)).toBe(0);
});

test("a mark whose job is gone is cleared", async () => {
  const id = await recordOnly();
  await open.redis.del(open.keys.job(id));
  expect(await sweeps.pending(-1_000)).toBe(0);
  expect(await open.upkeep.pending(-1_000, 10)).toEqual([]);
});

test("queued and running jobs expire at their deadline, not before, and no other does", async () => {
  const soon = { standing: { deadlineMs: 300 } };
  const [queued, running] = [await submit(soon), await submit(soon)];
  const others = [await submit(), await submit({ standing: { deadlineMs: 60_000 } })];
  await open.ledger.start(running);
  expect(await sweeps.deadlines()).toBe(0);
  const heard: (string | null)[] = [];
  const stop = await open.subscriber.subscribe(open.keys.control("0"), (word) => heard.push(word));
  await sleep(320);
  expect(await sweeps.deadlines()).toBe(2);
  expect(await sweeps.deadlines()).toBe(0);
  const error = { code: "deadline_exceeded", retryable: true };
  for (const id of [queued, running])
    expect(await read(id)).toMatchObject({ state: "expired", output: null, error });
  for (const id of others) expect(await read(id)).toMatchObject({ state: "queued" });
  expect(await Promise.all([queued, ...others].map(holds))).toEqual([false, true, true]);
  await expect.poll(() => heard).toEqual([`expire ${running}`]);
  stop();
});

test("a job that the queue does not know is enqueued again, at the second sight", async () => {
  const [lost] = [await submit(), await submit()];
  await open.queues.remove({ id: lost, version });
  expect(await sweeps.orphans()).toBe(0);
  expect(await sweeps.orphans()).toBe(1);
  expect(await sweeps.pending()).toBe(1);
  expect(await holds(lost)).toBe(true);
  expect([await sweeps.orphans(), await sweeps.orphans()]).toEqual([0, 0]);
});

test("a job that runs for nobody is queued and enqueued again; one that has gone on is left alone", async () => {
  const [dead, alive] = [await submit(), await submit()];
  for (const id of [dead, alive]) {
    await open.ledger.start(id);
    await open.queues.remove({ id, version });
  }
  await sweeps.orphans();
  await open.ledger.start(alive);
  expect(await sweeps.orphans()).toBe(1);
  expect(await sweeps.pending()).toBe(1);
  expect(await read(dead)).toMatchObject({ state: "queued", attempt: 1 });
  expect(await read(alive)).toMatchObject({ state: "running", attempt: 2 });
  const log = await open.ledger.readLog(dead, -1);
  expect(log.map((event) => event.type)).toEqual(["queued", "running", "queued"]);
});

test("one that waits for another's answer is no orphan until that other is gone", async () => {
  const same = {
    input: { messages: [{ role: "user" as const, content: "Same?" }], options: { seed: 1 } },
  };
  const [leader, follower] = [await submit(same), await submit(same)];
  expect([await sweeps.orphans(), await sweeps.orphans()]).toEqual([0, 0]);
  expect(await holds(follower)).toBe(false);
  await open.redis.del(open.keys.job(leader));
  await open.queues.remove({ id: leader, version });
  expect([await sweeps.orphans(), await sweeps.orphans()]).toEqual([0, 1]);
  await sweeps.pending();
  expect(await holds(follower)).toBe(true);
});

test("a job whose record vanished no longer counts", async () => {
  const standing = { maxActive: 1 };
  const id = await submit();
  expect(await open.ledger.submit({ ...newJob, standing })).toMatchObject({ outcome: "full" });
  await open.redis.del(open.keys.job(id));
  await sweeps.orphans();
  expect(await open.ledger.submit({ ...newJob, standing })).toMatchObject({ outcome: "created" });
});

test("priorities are counted anew before they leave BullMQ's range, and the order stays", async () => {
  const beat = {
    id: "w",
    model: "nano",
    version,
    slots: 1,
    running: 0,
    event_loop_delay_ms: { p50: 0, p99: 0, max: 0 },
  };
  await open.ledger.beat(beat, 60_000);
  const jobs: string[] = [];
  for (let i = 0; i < 6; i++) jobs.push(await submit());
  // The first three are started, which moves the clock to 48.
  for (const id of jobs.slice(0, 3)) {
    await open.ledger.start(id);
    await open.queues.remove({ id, version });
  }
  expect(await sweeps.turns(47)).toBe(3);
  const places = await Promise.all(jobs.slice(3).map((id) => open.upkeep.place(id)));
  expect(places.map((place) => place?.priority)).toEqual([16, 32, 48]);
  const late = await submit({ tenant: "other" });
  expect((await open.upkeep.place(late))?.priority).toBe(16);
  const order = await Promise.all(
    [jobs[3]!, late, jobs[4]!, jobs[5]!].map((id) => open.queues.position({ id, version })),
  );
  expect(order).toEqual([1, 2, 3, 4]);
  expect([await sweeps.turns(47), await sweeps.turns(47)]).toEqual([0, 0]);
});
