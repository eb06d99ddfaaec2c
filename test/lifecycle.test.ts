// The life of a job through real processes, with an engine that does what its prompt says.
import { defaultTenant } from "@glimpse/contracts";
import { connectRedis, createKeys, createLedger, createQueues } from "@glimpse/ledger";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { textOf } from "@glimpse/client";
import { createClient } from "./support/client.ts";
import type { System } from "./support/system.ts";
import { startSystem } from "./support/system.ts";

type Events = Parameters<typeof textOf>[0];

let system: System;
let client: ReturnType<typeof createClient>;
beforeAll(async () => {
  system = await startSystem({ redisUrl: inject("redisUrl"), engine: "scripted" });
  client = createClient(system.url);
});
afterAll(() => system.stop());

async function collect(id: string, after = -1): Promise<Events> {
  const events: Events = [];
  for await (const event of client.events(id, after)) events.push(event);
  return events;
}

const types = (events: Events) => events.map((event) => event.type);
const ends = (events: Events) =>
  types(events).filter((type) => ["succeeded", "failed", "canceled", "expired"].includes(type));
const numbers = (events: Events) => events.map((event) => (event.type === "gap" ? -1 : event.id));
const counted = (words: number) => Array.from({ length: words }, (_, i) => `${i} `).join("");

/** Waits until the job has said something. */
async function speaks(id: string): Promise<void> {
  for await (const event of client.events(id)) if (event.type === "delta") return;
}

test("every way of reading gives the same answer", async () => {
  const prompt = "count 60 every 20";
  const { id } = await client.submit({ prompt });
  const [live, polled, waited] = await Promise.all([
    collect(id),
    client.poll(id),
    client.read(id, 30),
  ]);
  const middle = Math.floor(live.length / 2);
  const resumed = await collect(id, middle);
  const inferred = await client.infer({ prompt });

  expect(numbers(live)).toEqual(live.map((_, i) => i));
  expect(resumed).toEqual(live.slice(middle + 1));
  expect(await collect(id)).toEqual(live);
  expect(textOf(live)).toBe(counted(60));
  for (const job of [polled, waited, inferred])
    expect(job).toMatchObject({ state: "succeeded", output: { text: counted(60) } });
  expect(live.filter((event) => event.type === "delta").length).toBeGreaterThan(20);
});

test("when an API process stops, its streams go on at another", async () => {
  const other = await system.startApi();
  const { id } = await client.submit({ prompt: "count 60 every 20" });
  const first: Events = [];
  for await (const event of createClient(other.url).events(id)) {
    first.push(event);
    if (first.length === 10) expect(await other.api.kill("SIGTERM")).toBe(0);
  }
  expect(ends(first)).toEqual([]);
  const all = [...first, ...(await collect(id, first.length - 1))];
  expect(numbers(all)).toEqual(all.map((_, i) => i));
  expect(textOf(all)).toBe(counted(60));
});

test("a stream whose reader is gone leaves no subscription", async () => {
  const redis = connectRedis(inject("redisUrl"), "failFast", () => {});
  const { id } = await client.submit({ prompt: "count 200 every 20" });
  await speaks(id);
  const channel = createKeys(system.prefix).channel(id);
  await expect
    .poll(() => redis.pubsub("NUMSUB", channel), { timeout: 5_000 })
    .toEqual([channel, 0]);
  await client.cancel(id);
  redis.disconnect();
});

test("a killed worker's job is run again by another, from a reset to one end", async () => {
  const { id } = await client.submit({ prompt: "count 100 every 20" });
  await speaks(id);
  const killedAt = Date.now();
  await system.worker.kill("SIGKILL");
  system.worker = await system.startWorker();
  const events = await collect(id);
  const again = events.findIndex((event) => event.type === "reset");
  const restart = events[again + 1];
  expect(types(events).slice(again, again + 3)).toEqual(["reset", "running", "delta"]);
  expect(ends(events)).toEqual(["succeeded"]);
  expect(numbers(events)).toEqual(events.map((_, i) => i));
  expect(textOf(events)).toBe(counted(100));
  expect(await client.read(id)).toMatchObject({ attempt: 2, output: { text: counted(100) } });
  const restartedAfterMs = (restart?.type === "running" ? restart.at_ms : Number.NaN) - killedAt;
  console.log(`killed worker -> its job runs again: ${restartedAfterMs} ms`);
  expect(restartedAfterMs).toBeLessThan(10_000);
}, 60_000);

test("a running job is canceled within a moment, and the slot is free", async () => {
  const { id } = await client.submit({ prompt: "count 1000 every 20" });
  await speaks(id);
  expect(await client.cancel(id)).toMatchObject({ state: "canceled" });
  await expect
    .poll(() => system.worker.log.some((line) => line.msg === "job stopped" && line.job === id))
    .toBe(true);
  expect(await client.infer({ prompt: "count 2 every 1" })).toMatchObject({ state: "succeeded" });
  expect(ends(await collect(id))).toEqual(["canceled"]);
});

test("a queued job that is canceled is never run", async () => {
  const running = await client.submit({ prompt: "count 50 every 20" });
  await speaks(running.id);
  const queued = await client.submit({ prompt: "count 5 every 1" });
  expect(await client.cancel(queued.id)).toMatchObject({ state: "canceled", attempt: 0 });
  expect(await client.read(running.id, 30)).toMatchObject({ state: "succeeded" });
  await client.infer({ prompt: "count 1 every 1" });
  expect(types(await collect(queued.id))).toEqual(["queued", "canceled"]);
});

test("a job recorded by an older API that died before enqueueing is run all the same", async () => {
  const redis = connectRedis(inject("redisUrl"), "patient", () => {});
  const keys = createKeys(system.prefix);
  const ledger = createLedger(redis, keys, { shard: "0", retentionS: 60 });
  const queues = createQueues(redis, keys, { timeoutMs: 5_000 });
  const input = { messages: [{ role: "user" as const, content: "count 3 every 1" }], options: {} };
  const version = "nano@1";
  const queue = `${keys.queueOf("0", version)}meta`;
  await redis.hset(queue, "paused", 1);
  const job = { tenant: defaultTenant, model: "nano", version, input, metadata: {} };
  const { id } = await ledger.submit(job);
  // It enqueued in a step of its own, which its mark as pending stood for.
  await queues.remove({ id, version });
  await redis.zadd(keys.pending("0"), 1, id);
  await redis.hdel(queue, "paused");
  expect(await client.read(id, 20)).toMatchObject({ state: "succeeded" });
  await queues.close();
  redis.disconnect();
});

test("a worker asked to stop finishes what it has begun", async () => {
  const { id } = await client.submit({ prompt: "count 60 every 20" });
  await speaks(id);
  const code = await system.worker.kill("SIGTERM");
  expect(code).toBe(0);
  expect(await client.read(id)).toMatchObject({ state: "succeeded", attempt: 1 });
  const ready = await fetch(`${system.url}/ready`);
  expect([ready.status, await ready.json()]).toMatchObject([503, { missing: ["worker"] }]);
  system.worker = await system.startWorker();
});

test("what a stopping worker cannot finish in time is taken by another at once", async () => {
  const second = await system.startWorker({ GRACE_MS: "300" });
  await system.worker.kill("SIGTERM");
  const { id } = await client.submit({ prompt: "count 5000 every 20" });
  await speaks(id);
  system.worker = await system.startWorker();
  const stoppedAt = Date.now();
  expect(await second.kill("SIGTERM")).toBe(0);
  expect(Date.now() - stoppedAt).toBeLessThan(5_000);
  const events: Events = [];
  for await (const event of client.events(id)) {
    events.push(event);
    if (event.type === "delta" && types(events).includes("reset")) break;
  }
  const [, , back, reset, running] = events.filter((event) => event.type !== "delta");
  expect([back?.type, reset?.type, running?.type]).toEqual(["queued", "reset", "running"]);
  if (back?.type !== "queued" || running?.type !== "running") throw new Error("unreachable");
  expect(running.at_ms - back.at_ms).toBeLessThan(1_000);
  expect(textOf(events)).toMatch(/^0 /);
  await client.cancel(id);
}, 60_000);

test("a job that breaks its workers' engines, which then exit with 70, is given up after three", async () => {
  const { id } = await client.submit({ prompt: "break" });
  for (let run = 0; run < 3; run++) {
    expect(await system.worker.exited).toBe(70);
    system.worker = await system.startWorker();
  }
  expect(await client.read(id, 30)).toMatchObject({
    state: "failed",
    error: { code: "worker_crashed" },
    attempt: 3,
  });
  expect(await client.infer({ prompt: "count 2 every 1" })).toMatchObject({ state: "succeeded" });
}, 120_000);
