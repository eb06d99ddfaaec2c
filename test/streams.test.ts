// Event streams through whatever happens to the processes and the lines behind them. With STREAMS=1000 the full count.
import { setTimeout as sleep } from "node:timers/promises";
import { isTerminal } from "@glimpse/contracts";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { createClient } from "./support/client.ts";
import { openEventStream } from "./support/event-stream.ts";
import { startProxy } from "./support/proxy.ts";
import type { System } from "./support/system.ts";
import { startSystem } from "./support/system.ts";

const streams = Number(process.env.STREAMS ?? 300);
const readersOfAJob = 4;

let system: System;
beforeEach(async () => {
  system = await startSystem({ redisUrl: inject("redisUrl"), engine: "scripted" });
});
afterEach(() => system.stop());

type Reader = { numbers: number[]; hasEnded: boolean; connections: number };

/** Reads a job's events to the end, at whichever of `urls` answers; comes back as often as it is cut off. */
async function readToEnd(urls: string[], id: string, first: number): Promise<Reader> {
  const reader: Reader = { numbers: [], hasEnded: false, connections: 0 };
  for (let i = first; !reader.hasEnded; i++) {
    const url = urls[i % urls.length] ?? "";
    const after = reader.numbers.at(-1) ?? -1;
    const stream = await openEventStream(url, id, after, (event) => {
      reader.numbers.push(event.id);
      reader.hasEnded = isTerminal(event.type);
    });
    if (typeof stream === "number") {
      await sleep(50);
      continue;
    }
    reader.connections++;
    await stream.closed;
  }
  return reader;
}

test(`${streams} streams through two API processes that are killed in turn: no event missing or repeated`, async () => {
  await system.worker.kill("SIGKILL");
  const client = createClient(system.url);
  const jobs = await Promise.all(
    Array.from({ length: streams / readersOfAJob }, () =>
      client.submit({ prompt: "count 150 every 50" }),
    ),
  );
  const apis = await Promise.all([system.startApi(), system.startApi()]);
  const urls = apis.map(({ url }) => url);
  let haveEnded = false;
  const reading = Promise.all(
    Array.from({ length: streams }, (_, i) =>
      readToEnd(urls, jobs[Math.floor(i / readersOfAJob)]?.id ?? "", i),
    ),
  ).finally(() => (haveEnded = true));
  await system.startWorker({ SLOTS: String(jobs.length) });
  let kills = 0;
  for (; !haveEnded; kills++) {
    const which = kills % 2;
    await apis[which]?.api.kill(kills % 3 === 0 ? "SIGTERM" : "SIGKILL");
    const again = await system.startApi();
    apis[which] = again;
    urls[which] = again.url;
  }
  const readers = await reading;
  const connections = readers.reduce((sum, reader) => sum + reader.connections, 0);
  console.log(`${streams} streams, ${kills} kills, ${connections} connections`);
  const faulty = readers.filter(
    // queued, running, the pieces, succeeded
    ({ numbers }) => numbers.length < 50 || numbers.some((number, i) => number !== i),
  );
  expect(faulty).toEqual([]);
  expect(connections).toBeGreaterThan(2 * streams);
}, 120_000);

test("a line to Redis that goes silent is noticed, and a stream goes on over another", async () => {
  const proxy = await startProxy(Number(new URL(inject("redisUrl")).port));
  const { url } = await system.startApi({ REDIS_URL: proxy.url });
  const { id } = await createClient(system.url).submit({ prompt: "count 240 every 50" });
  const heard: { id: number; atMs: number }[] = [];
  const stream = await openEventStream(url, id, -1, (event) => {
    heard.push({ id: event.id, atMs: performance.now() });
  });
  if (typeof stream === "number") throw new Error(`refused: ${stream}`);
  await expect.poll(() => heard.length).toBeGreaterThan(5);
  proxy.silence();
  const silentAt = performance.now();
  await stream.closed;
  proxy.close();
  const backAfterMs = (heard.find(({ atMs }) => atMs > silentAt + 500)?.atMs ?? NaN) - silentAt;
  console.log(`silent line -> events again: ${Math.round(backAfterMs)} ms`);
  expect(backAfterMs).toBeLessThan(13_000);
  expect(heard.map((event) => event.id)).toEqual(heard.map((_, i) => i));
  expect(heard.length).toBeGreaterThan(200);
}, 60_000);
