/**
 * While the engine runs flat out, how late are the event loops of API and worker? Prints a table; exits with 1 over the limit.
 * Load: two askers with pictures keep the slot taken, two readers follow a stream each, one client sends 20 MB bodies.
 * Usage: node bench/event-loop.ts [--seconds 30] [--json]
 */
import { readdir, readFile } from "node:fs/promises";
import { availableParallelism, cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { WorkerBeat } from "@glimpse/contracts";
import { health, readiness } from "@glimpse/contracts";
import { createClient } from "@glimpse/test/client";
import { startRedisServer } from "@glimpse/test/redis-server";
import { startSystem } from "@glimpse/test/system";

type Delay = WorkerBeat["event_loop_delay_ms"];

const limitMs = 50;
/** The processes measure in windows of this length. */
const windowMs = 10_000;
const pictures = new URL("../models/nano/heldout/", import.meta.url);

const { values: args } = parseArgs({
  options: {
    seconds: { type: "string", default: "30" },
    json: { type: "boolean", default: false },
  },
});

const redis = await startRedisServer();
const system = await startSystem({ redisUrl: redis.url, engine: "nano" });
try {
  const worst = await measure(Number(args.seconds) * 1_000);
  report(worst);
  if (worst.api.p99 > limitMs || worst.worker.p99 > limitMs) process.exitCode = 1;
} finally {
  await system.stop();
  await redis.stop();
}

/** The worst window of each process while the load is on; the first windows, which began before it, are left out. */
async function measure(ms: number) {
  const client = createClient(system.url);
  const [file] = (await readdir(pictures)).filter((name) => name.endsWith(".png"));
  if (file === undefined) throw new Error(`no picture in ${pictures.pathname}`);
  const picture = await readFile(new URL(file, pictures));
  const url = (bytes: Buffer) => `data:image/png;base64,${bytes.toString("base64")}`;
  const question = {
    prompt: "What is in the picture?",
    images: [url(picture)],
    options: { max_tokens: 64 },
  };
  const huge = {
    prompt: "What?",
    images: [url(Buffer.concat([picture, Buffer.alloc(14_000_000, picture)]))],
    options: { max_tokens: 1 },
  };

  const until = Date.now() + windowMs + ms;
  let answers = 0;
  const whileRunning = async (task: () => Promise<void>) => {
    while (Date.now() < until) await task();
  };
  const ask = async () => {
    await client.infer(question);
    answers++;
  };
  const read = async () => {
    const { id } = await client.submit(question);
    for await (const event of client.events(id)) if (event.type === "succeeded") answers++;
  };
  const send = async () => {
    const { id } = await client.submit(huge);
    await client.read(id, 30);
    await sleep(1_000);
  };
  const worst = { api: zero(), worker: zero() };
  const watch = async () => {
    await sleep(windowMs);
    await whileRunning(async () => {
      worst.api = max(worst.api, health.parse(await getJson("/healthz")).event_loop_delay_ms);
      for (const worker of readiness.parse(await getJson("/ready")).workers)
        worst.worker = max(worst.worker, worker.event_loop_delay_ms);
      await sleep(500);
    });
  };
  await Promise.all([watch(), ...[ask, ask, read, read, send].map(whileRunning)]);
  return { ...worst, answers };
}

async function getJson(path: string): Promise<unknown> {
  return (await fetch(`${system.url}${path}`)).json();
}

function zero(): Delay {
  return { p50: 0, p99: 0, max: 0 };
}

function max(a: Delay, b: Delay): Delay {
  return { p50: Math.max(a.p50, b.p50), p99: Math.max(a.p99, b.p99), max: Math.max(a.max, b.max) };
}

function report({ api, worker, answers }: Awaited<ReturnType<typeof measure>>): void {
  if (args.json) {
    console.log(JSON.stringify({ api, worker, answers, limit_ms: limitMs }));
    return;
  }
  console.log(
    `Event-loop delay in ms, worst ${windowMs / 1_000} s window, under full load (${answers} answers)`,
  );
  console.log(
    `${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, Node ${process.version}`,
  );
  console.table({ api, worker });
  console.log(`p99 is to be at most ${limitMs} ms`);
}
