// Redis gone, hung and back again: the API says so at once, nothing that was accepted is lost, and nobody has to help.
import { setTimeout as sleep } from "node:timers/promises";
import { problem } from "@glimpse/contracts";
import { connectRedis } from "@glimpse/ledger";
import { afterAll, beforeAll, expect, test } from "vitest";
import { textOf } from "@glimpse/client";
import { createClient } from "./support/client.ts";
import { openEventStream } from "./support/event-stream.ts";
import type { RedisServer } from "./support/redis-server.ts";
import { startRedisServer } from "./support/redis-server.ts";
import type { System } from "./support/system.ts";
import { startSystem } from "./support/system.ts";

let redis: RedisServer;
let system: System;
let client: ReturnType<typeof createClient>;
beforeAll(async () => {
  redis = await startRedisServer();
  system = await startSystem({ redisUrl: redis.url, engine: "scripted" });
  client = createClient(system.url);
});
afterAll(async () => {
  await system.stop();
  await redis.stop();
});

const unknown = `job_0_${"0".repeat(32)}`;
const body = { prompt: "count 1 every 1", images: [] };

/** Every call's answer while Redis is away, and the slowest. */
async function refusals(): Promise<number> {
  let slowestMs = 0;
  const calls = [
    () => client.post("/v1/jobs", body),
    () => client.post("/v1/infer", body),
    () => fetch(`${system.url}/v1/jobs/${unknown}`),
    () => fetch(`${system.url}/v1/jobs/${unknown}/events`),
    () => client.post(`/v1/jobs/${unknown}/cancel`, {}),
    () => fetch(`${system.url}/v1/models`),
  ];
  for (const call of calls) {
    const startedAt = performance.now();
    const response = await call();
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("1");
    expect(problem.parse(await response.json())).toMatchObject({
      code: "unavailable",
      retryable: true,
    });
  }
  const ready = await fetch(`${system.url}/ready`);
  expect([ready.status, await ready.json()]).toMatchObject([503, { missing: ["redis", "worker"] }]);
  expect((await fetch(`${system.url}/healthz`)).status).toBe(200);
  return slowestMs;
}

async function works(): Promise<void> {
  await expect
    .poll(async () => (await fetch(`${system.url}/ready`)).status, { timeout: 10_000 })
    .toBe(200);
  expect(await client.infer({ prompt: "count 3 every 1" })).toMatchObject({ state: "succeeded" });
}

test("a Redis that is gone: 503 at once, and the running job is finished when it is back", async () => {
  const { id } = await client.submit({ prompt: "count 60 every 20" });
  const queued = await client.submit({ prompt: "count 2 every 1" });
  const heard: number[] = [];
  const open = await openEventStream(system.url, id, -1, (event) => heard.push(event.id));
  if (typeof open === "number") throw new Error(`refused: ${open}`);
  await expect.poll(() => heard.length).toBeGreaterThan(2);
  await sleep(1_100); // appendfsync everysec
  await redis.kill("SIGKILL");
  expect(await refusals()).toBeLessThan(1_500);
  await redis.start();
  await works();
  const events = [];
  for await (const event of client.events(id)) events.push(event);
  expect(events.at(-1)?.type).toBe("succeeded");
  // The stream that was open has waited the outage out.
  await open.closed;
  expect(heard).toEqual(events.map((_, i) => i));
  expect(textOf(events)).toBe(Array.from({ length: 60 }, (_, i) => `${i} `).join(""));
  expect(await client.read(queued.id, 20)).toMatchObject({ state: "succeeded" });
}, 60_000);

test("a Redis that hangs: 503 within a second and a half", async () => {
  process.kill(redis.pid(), "SIGSTOP");
  const slowestMs = await refusals();
  process.kill(redis.pid(), "SIGCONT");
  console.log(`slowest answer while Redis hangs: ${Math.round(slowestMs)} ms`);
  expect(slowestMs).toBeLessThan(1_500);
  await works();
}, 60_000);

test("a Redis that is full: what runs comes to its end, what waits is run when there is room, new jobs are refused", async () => {
  const admin = connectRedis(redis.url, "patient", () => {});
  const { id } = await client.submit({ prompt: "count 150 every 20" });
  const queued = await client.submit({ prompt: "count 2 every 1" });
  for await (const event of client.events(id)) if (event.type === "delta") break;
  await admin.config("SET", "maxmemory", "1");
  const refused = await client.post("/v1/jobs", body);
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await client.read(id, 20)).toMatchObject({ state: "succeeded", attempt: 1 });
  expect(await client.read(queued.id)).toMatchObject({ state: "queued" });
  await admin.config("SET", "maxmemory", "0");
  expect(await client.read(queued.id, 20)).toMatchObject({ state: "succeeded" });
  const events = [];
  for await (const event of client.events(id)) events.push(event);
  expect(textOf(events)).toBe(Array.from({ length: 150 }, (_, i) => `${i} `).join(""));
  admin.disconnect();
}, 60_000);
