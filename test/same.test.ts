// Requests sent again and identical jobs, through real processes.
import { job } from "@glimpse/contracts";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { textOf } from "@glimpse/client";
import { createClient } from "./support/client.ts";
import type { System } from "./support/system.ts";
import { startSystem } from "./support/system.ts";

let system: System;
let client: ReturnType<typeof createClient>;
beforeAll(async () => {
  system = await startSystem({ redisUrl: inject("redisUrl"), engine: "scripted" });
  client = createClient(system.url);
});
afterAll(() => system.stop());

const options = { temperature: 0 };
const counted = (words: number) => Array.from({ length: words }, (_, i) => `${i} `).join("");

/** How often a worker has started the job. */
const runs = (id: string) =>
  system.worker.log.filter((line) => line.msg === "job started" && line["job"] === id).length;

/** Waits until the job has said something. */
async function speaks(id: string): Promise<void> {
  for await (const event of client.events(id)) if (event.type === "delta") return;
}

async function collect(id: string) {
  const events = [];
  for await (const event of client.events(id)) events.push(event);
  return events;
}

test("one run serves all who ask the same", async () => {
  const body = { prompt: "count 40 every 20", options };
  const first = await client.submit(body);
  await speaks(first.id);
  const joined = [await client.submit(body), await client.submit(body)];
  const logs = await Promise.all(joined.map(({ id }) => collect(id)));
  const late = await client.submit(body);
  logs.push(await collect(late.id));
  expect(late).toMatchObject({ state: "succeeded", reused: true });
  for (const [i, { id }] of [...joined, late].entries()) {
    expect(textOf(logs[i]!)).toBe(counted(40));
    expect(await client.read(id)).toMatchObject({ output: { text: counted(40) }, reused: true });
    expect(runs(id)).toBe(0);
  }
  expect(await client.read(first.id)).toMatchObject({ state: "succeeded", reused: false });
  expect(runs(first.id)).toBe(1);
});

test("when the one that runs is canceled, the other runs", async () => {
  const body = { prompt: "count 60 every 20", options };
  const first = await client.submit(body);
  await speaks(first.id);
  const second = await client.submit(body);
  await client.cancel(first.id);
  expect(await client.read(second.id, 20)).toMatchObject({
    state: "succeeded",
    output: { text: counted(60) },
    reused: false,
  });
  expect(await client.read(first.id)).toMatchObject({ state: "canceled" });
});

test("when the one that runs is too late, the other runs", async () => {
  const body = { prompt: "count 70 every 20", options };
  const first = await client.submit({ ...body, deadline_ms: 500 });
  const second = await client.submit(body);
  expect(await client.read(first.id, 20)).toMatchObject({ state: "expired" });
  expect(await client.read(second.id, 20)).toMatchObject({ state: "succeeded", reused: false });
});

test("when its worker is killed, those who joined get the answer of the next run", async () => {
  const body = { prompt: "count 80 every 20", options };
  const first = await client.submit(body);
  await speaks(first.id);
  const second = await client.submit(body);
  await system.worker.kill("SIGKILL");
  await system.startWorker();
  const log = await collect(second.id);
  expect(textOf(log)).toBe(counted(80));
  expect(log.filter(({ type }) => type === "succeeded")).toHaveLength(1);
  expect(await client.read(first.id)).toMatchObject({ state: "succeeded", attempt: 2 });
  expect(await client.read(second.id)).toMatchObject({ reused: true, attempt: 0 });
});

test("a key means the same job at every API process, also after a kill", async () => {
  const other = await system.startApi();
  const send = async (url: string) => {
    const response = await fetch(`${url}/v1/jobs`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": "everywhere" },
      body: JSON.stringify({ prompt: "count 1 every 1" }),
    });
    return job.parse(await response.json()).id;
  };
  const crossing = Array.from({ length: 20 }, (_, i) => send(i % 2 === 0 ? system.url : other.url));
  const ids = new Set(await Promise.all(crossing));
  await other.api.kill("SIGKILL");
  ids.add(await send(system.url));
  expect(ids.size).toBe(1);
});
