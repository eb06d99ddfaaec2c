/**
 * What becomes of the service when three times as many ask as it can answer? The real API and a real worker on an engine that
 * only takes time: 100 to 300 ms a job, 16 at once. First its peak, by askers who wait for their answers; then requests that come
 * when they come (Poisson), however the ones before them fare: at 0.9 of the peak, and at three times the peak. Nobody asks twice.
 * The last line of --json is for machines; exits with 1 when a number does not hold.
 * Usage: pnpm bench overload [--quick] [--json]
 */
import { availableParallelism, cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startRedisServer } from "@glimpse/test/redis-server";
import { Pool } from "undici";
import { round } from "./engine/measure.ts";
import { uniform } from "./engine/random.ts";
import { startApi, startChild } from "./queue/children.ts";

const { values: args } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const forS = args.quick ? { peak: 4, calm: 8, crowd: 12 } : { peak: 6, calm: 12, crowd: 60 };
const slots = 16;
const seed = 20_261_122;
/** Of the wait alone, before a job's own time: enough to keep the slots busy, little against a job's 200 ms. */
const maxWaitMs = 120;
/** Not counted at the beginning of a phase: slots and queue fill. */
const settleS = 2;

type Answer = { status: number; hasRetryAfter: boolean; isDone: boolean; ms: number; at: number };

const server = await startRedisServer();
const env = { REDIS_URL: server.url, KEY_PREFIX: "bench", MODEL_DIR: "models/nano" };
const api = await startApi({ ...env, MAX_WAIT_MS: String(maxWaitMs) });
const workersFile = new URL("./queue/workers.ts", import.meta.url);
const worker = await startChild(workersFile, { ...env, WORKERS: "1", SLOTS: String(slots) });
const http = new Pool(api.url, { connections: 1_024, pipelining: 1 });
const random = uniform(seed);
try {
  await api.knows(1);
  await measure();
} finally {
  await http.close();
  await Promise.all([worker.stop(), api.stop()]);
  await server.stop();
}

async function measure(): Promise<void> {
  const cpu = cpus()[0]?.model ?? "unknown CPU";
  console.log(`${cpu}, ${availableParallelism()} cores, Node ${process.version}, seed ${seed}`);
  const peak = await saturate(forS.peak);
  const calm = await arrive(0.9 * peak, forS.calm);
  const crowd = await arrive(3 * peak, forS.crowd);

  const figures = {
    goodput_ratio: round(crowd.goodput / peak),
    other_statuses: calm.others + crowd.others,
    accepted_p99_ratio: round(crowd.p99 / calm.p99),
  };
  console.log(`peak ${round(peak, 1)} answers/s of ${round((slots * 1_000) / 200, 1)} possible`);
  console.table({ "0.9 of the peak": rowOf(calm), "3 times the peak": rowOf(crowd) });
  console.log(
    "goodput is to be at least 0.9 of the peak, refusals 429 or 503 with Retry-After and nothing else, p99 of answers at most 1.5 times",
  );
  if (args.json) console.log(JSON.stringify(figures));
  const { goodput_ratio, other_statuses, accepted_p99_ratio } = figures;
  if (goodput_ratio < 0.9 || other_statuses > 0 || accepted_p99_ratio > 1.5) process.exitCode = 1;
}

/** Answers a second when some always wait. */
async function saturate(seconds: number): Promise<number> {
  const from = performance.now() + settleS * 1_000;
  const until = from + seconds * 1_000;
  let answered = 0;
  const asker = async () => {
    while (performance.now() < until) {
      const { isDone, at } = await ask(performance.now());
      if (isDone && at >= from && at < until) answered++;
      if (!isDone) await sleep(10);
    }
  };
  await Promise.all(Array.from({ length: slots + slots / 2 }, asker));
  return answered / seconds;
}

/** Sends `perS` requests a second, each at its time; a time is counted from when the request was to be sent. */
async function arrive(perS: number, seconds: number) {
  const start = performance.now();
  const from = start + settleS * 1_000;
  const until = from + seconds * 1_000;
  const asked: Promise<Answer>[] = [];
  for (let due = start; due < until; due += (-Math.log(1 - random()) / perS) * 1_000) {
    const early = due - performance.now();
    if (early > 1) await sleep(early);
    asked.push(ask(due));
  }
  const all = await Promise.all(asked);
  const counted = all.filter(({ at }) => at >= from && at < until);
  const done = counted.filter(({ isDone }) => isDone);
  const refused = (status: number) =>
    counted.filter((answer) => answer.status === status && answer.hasRetryAfter);
  const times = done.map(({ ms }) => ms).toSorted((a, b) => a - b);
  const at = (share: number) => times[Math.ceil(share * times.length) - 1] ?? NaN;
  return {
    askedPerS: counted.length / seconds,
    goodput: done.length / seconds,
    p50: at(0.5),
    p99: at(0.99),
    refusalP99: refused(503)
      .map(({ ms }) => ms)
      .toSorted((a, b) => a - b)
      .at(-Math.ceil(refused(503).length / 100)),
    refused503: refused(503).length,
    refused429: refused(429).length,
    others: counted.length - done.length - refused(503).length - refused(429).length,
  };
}

/** One job of its own, from `due` to its answer. What is no answer of HTTP has the status 0. */
async function ask(due: number): Promise<Answer> {
  const prompt = `take ${Math.round(100 + 200 * random())}`;
  try {
    const { statusCode, headers, body } = await http.request({
      path: "/v1/infer?wait=60",
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt }),
    });
    const answer = (await body.json()) as { state?: string };
    const at = performance.now();
    const isDone = statusCode === 200 && answer.state === "succeeded";
    const hasRetryAfter = Number(headers["retry-after"]) > 0;
    return { status: statusCode, hasRetryAfter, isDone, ms: at - due, at };
  } catch {
    const at = performance.now();
    return { status: 0, hasRetryAfter: false, isDone: false, ms: at - due, at };
  }
}

function rowOf(phase: Awaited<ReturnType<typeof arrive>>) {
  return {
    "asked/s": round(phase.askedPerS, 0),
    "answered/s": round(phase.goodput, 1),
    "p50 ms": round(phase.p50, 0),
    "p99 ms": round(phase.p99, 0),
    503: phase.refused503,
    429: phase.refused429,
    "p99 ms of a 503": round(phase.refusalP99 ?? 0, 0),
    others: phase.others,
  };
}
