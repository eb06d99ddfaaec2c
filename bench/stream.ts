/**
 * How many event streams does one API process hold, at what memory, and how late are the deltas? Real processes: an API, a Redis,
 * a worker with an engine that answers at once, and one process of readers. Each reader follows a job of its own from its acceptance
 * to its end; once all are open they are cut and come back all at once; then the worker begins.
 * Prints a table; exits with 1 when a stream was dropped or deltas were late.
 * Usage: node bench/stream.ts [--clients 10000] [--slots 512] [--json]
 */
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { availableParallelism, cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { health } from "@glimpse/contracts";
import { createClient } from "@glimpse/test/client";
import { startRedisServer } from "@glimpse/test/redis-server";
import { startSystem } from "@glimpse/test/system";
import type { Order, Report } from "./stream/clients.ts";
import { report } from "./stream/clients.ts";

const { values: args } = parseArgs({
  options: {
    clients: { type: "string", default: "10000" },
    slots: { type: "string", default: "512" },
    json: { type: "boolean", default: false },
  },
});
const clients = Number(args.clients);
const limitMs = 250;
/** Ten deltas a job, 100 ms apart: with 512 slots up to 5,120 a second, as much as two cards with 64 slots say at 25 ms a piece. */
const prompt = "count 10 every 100";

const redis = await startRedisServer();
const system = await startSystem({ redisUrl: redis.url, engine: "scripted" });
/** It has done nothing yet, so that what it grows by is the streams'. */
const { api, url } = await system.startApi();
const readers = fork(new URL("./stream/clients.ts", import.meta.url));
const died = once(readers, "exit").then(() => Promise.reject(new Error("the readers gave up")));
died.catch(() => {}); // in the end they are to go
try {
  const result = await measure();
  print(result);
  if (result.dropped > 0 || result.delta.p99 > limitMs) process.exitCode = 1;
} finally {
  readers.disconnect();
  await system.stop();
  await redis.stop();
}

async function measure() {
  await system.worker.kill("SIGTERM");
  const ids = await submitAll();
  const open = (atOnce: number) => tell({ do: "open", url, ids, atOnce });

  const emptyKb = rssKb();
  const first = await open(100);
  await sleep(1_000);
  const rssPerClientKb = (rssKb() - emptyKb) / clients;

  await tell({ do: "cut" });
  const herdAt = performance.now();
  const herd = await open(clients);
  const herdMs = performance.now() - herdAt;

  await system.startWorker({ SLOTS: args.slots });
  const startedAt = performance.now();
  let now = await tell({ do: "report" });
  let loopDelayMs = 0;
  while (now.ended < clients && now.open > 0 && performance.now() - startedAt < 120_000) {
    await sleep(1_000);
    const answer = await fetch(`${url}/healthz`);
    loopDelayMs = Math.max(loopDelayMs, health.parse(await answer.json()).event_loop_delay_ms.p99);
    now = await tell({ do: "report" });
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  return {
    rssPerClientKb,
    connect: quantiles(first.connectMs),
    herd: { ms: herdMs, refused: herd.refused, ...quantiles(herd.connectMs) },
    delta: quantiles(now.deltaMs),
    deltasPerS: now.deltaMs.length / seconds,
    loopDelayMs,
    dropped: clients - now.ended + now.wrong,
  };
}

async function submitAll(): Promise<string[]> {
  const client = createClient(system.url);
  const ids: string[] = [];
  let left = clients;
  const submitter = async () => {
    while (left-- > 0) ids.push((await client.submit({ prompt })).id);
  };
  await Promise.all(Array.from({ length: 64 }, submitter));
  return ids;
}

async function tell(command: Order): Promise<Report> {
  readers.send(command);
  const [answer] = (await Promise.race([once(readers, "message"), died])) as unknown[];
  return report.parse(answer);
}

/** What the API's process holds in memory. */
function rssKb(): number {
  return Number(execFileSync("ps", ["-o", "rss=", "-p", `${api.pid}`], { encoding: "utf8" }));
}

function quantiles(values: number[]) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (q: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

function print(result: Awaited<ReturnType<typeof measure>>): void {
  const { rssPerClientKb, connect, herd, delta, deltasPerS, loopDelayMs, dropped } = result;
  if (args.json) {
    const delta_p99_ms = delta.p99;
    const rss_per_client_kb = Math.round(rssPerClientKb);
    console.log(JSON.stringify({ clients, dropped, delta_p99_ms, rss_per_client_kb }));
    return;
  }
  const ms = (value: number) => Math.round(value);
  const row = ({ p50, p99, max }: typeof delta) => ({ p50: ms(p50), p99: ms(p99), max: ms(max) });
  console.log(
    `${clients} event streams on one API process, each of a job of its own; milliseconds`,
  );
  console.log(
    `${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, Node ${process.version}`,
  );
  console.table({
    "open, 100 at a time": row(connect),
    "reconnect, all at once": row(herd),
    "delta, Redis to reader": row(delta),
  });
  console.log(
    `memory of the API ${rssPerClientKb.toFixed(1)} KB a stream; ${ms(deltasPerS)} deltas/s; its event loop at most ${loopDelayMs} ms late (p99)`,
  );
  console.log(
    `all back after ${ms(herd.ms)} ms, ${herd.refused} tries refused; dropped: ${dropped}`,
  );
  console.log(`deltas are to be at most ${limitMs} ms late (p99), and no stream dropped`);
}
