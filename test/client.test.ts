// The client package against a real API, through a line that breaks and processes that die.
import type { Client } from "@glimpse/client";
import { createClient, GlimpseError, textOf } from "@glimpse/client";
import type { JobEvent } from "@glimpse/contracts";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import type { Proxy } from "./support/proxy.ts";
import { startProxy } from "./support/proxy.ts";
import type { System } from "./support/system.ts";
import { startSystem } from "./support/system.ts";

let system: System;
let proxy: Proxy;
let client: Client;
beforeAll(async () => {
  system = await startSystem({
    redisUrl: inject("redisUrl"),
    engine: "scripted",
    env: { SLOTS: "4" },
  });
  proxy = await startProxy(Number(new URL(system.url).port));
  client = createClient({ baseUrl: `http://127.0.0.1:${proxy.port}/` });
}, 60_000);
afterAll(async () => {
  proxy.close();
  await system.stop();
});

const counted = (words: number) => Array.from({ length: words }, (_, i) => `${i} `).join("");

async function readAll(id: string): Promise<JobEvent[]> {
  const events: JobEvent[] = [];
  for await (const event of client.stream(id)) if (event.type !== "gap") events.push(event);
  return events;
}

test("submits, streams, reads, lists and removes", async () => {
  const metadata = { batch: "one" };
  const started = await client.submit({ prompt: "count 5 every 1", metadata });
  expect(started).toMatchObject({ object: "job", metadata });
  const events = await readAll(started.id);
  expect(events.map((event) => event.id)).toEqual(events.map((_, i) => i));
  expect(textOf(events)).toBe(counted(5));
  expect((await client.get(started.id)).output?.text).toBe(counted(5));
  const listed = await client.list({ metadata, state: ["succeeded"], limit: 5 });
  expect(listed.data.map(({ id }) => id)).toEqual([started.id]);
  await client.remove(started.id);
  await client.remove(started.id);
  await expect(client.get(started.id)).rejects.toMatchObject({ code: "job_not_found" });
});

test("waits for the end, and can be told not to", async () => {
  expect(await client.run({ prompt: "count 3 every 5" })).toMatchObject({ state: "succeeded" });
  const { id } = await client.submit({ prompt: "count 1000 every 50" });
  await expect(client.wait(id, { signal: AbortSignal.timeout(200) })).rejects.toMatchObject({
    name: "TimeoutError",
  });
  expect(await client.cancel(id)).toMatchObject({ state: "canceled" });
  expect((await readAll(id)).at(-1)?.type).toBe("canceled");
});

test("a lost reply is asked for again, and there is one job", async () => {
  let losses = 3;
  proxy.loseReplies((request) => request.startsWith("POST /v1/jobs ") && losses-- > 0);
  const job = await client.submit({ prompt: "count 1 every 1", metadata: { batch: "lost" } });
  expect(losses).toBeLessThanOrEqual(0);
  const { data } = await client.list({ metadata: { batch: "lost" } });
  expect(data.map(({ id }) => id)).toEqual([job.id]);
});

test("a stream goes on over new connections: every event once", async () => {
  const { id } = await client.submit({ prompt: "count 60 every 50" });
  const cuts = setInterval(() => proxy.reset(), 700);
  const events = await readAll(id).finally(() => clearInterval(cuts));
  expect(events.map((event) => event.id)).toEqual(events.map((_, i) => i));
  expect(events.at(-1)?.type).toBe("succeeded");
  expect(textOf(events.slice(0, -1))).toBe(counted(60));
});

test("a stream that is left leaves no connection", async () => {
  const { id } = await client.submit({ prompt: "count 100 every 50" });
  for await (const event of client.stream(id)) if (event.type === "delta") break;
  expect((await client.cancel(id)).state).toBe("canceled");
});

test("refusals say what, which field and whether to try again", async () => {
  const refused = client.submit({ prompt: "x", options: { temperature: 9 } });
  await expect(refused).rejects.toBeInstanceOf(GlimpseError);
  await expect(refused).rejects.toMatchObject({
    status: 422,
    code: "invalid_request",
    param: "options.temperature",
    retryable: false,
    requestId: expect.any(String),
  });
});

test("says so when nobody answers", async () => {
  const nobody = createClient({ baseUrl: "http://127.0.0.1:9", maxRetries: 1 });
  await expect(nobody.get("job_0_1")).rejects.toMatchObject({ status: 0, code: "unreachable" });
});
