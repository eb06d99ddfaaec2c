/**
 * Requests about pictures that come when they come (Poisson), at shares of what the engine was just measured to do:
 * time to the first output from the planned arrival on, and gaps between outputs, pooled, as vLLM's benchmarks define
 * them. Over capacity the queue grows for as long as requests come, and with it the time to the first output.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Engine } from "@glimpse/engine";
import { type HeldoutCase, readCases } from "../heldout.ts";
import { round, seconds, type Settings } from "./measure.ts";
import { exponentialLengths, uniform } from "./random.ts";

const CASES = new URL("../../models/nano/heldout", import.meta.url).pathname;
const SHARES = [0.5, 0.75, 1, 1.25, 1.5];
const SEED = 20_261_123;
/** Of output lengths; their mean is a quarter of it. */
const CAP_TOKENS = 128;
/** Requests all at once whose rate is the capacity. */
const SATURATING = 300;

type Asked = { case: HeldoutCase; tokens: number };
type Seen = { firstMs: number[]; gapsMs: number[]; doneAt: number };

export async function measureArrivals({ dir, quick }: Settings) {
  const cases = await readCases(CASES);
  const engine = await Engine.load(dir, { slots: 16, capacity: 512 });
  const draw = (count: number, seed: number): Asked[] =>
    exponentialLengths(count, CAP_TOKENS, seed).map((tokens, i) => ({
      case: cases[(i + seed) % cases.length]!,
      tokens,
    }));
  try {
    await saturate(engine, draw(SATURATING, SEED)); // warms up
    const forSeconds = quick ? 4 : 10;
    const rows = [];
    for (const [i, share] of SHARES.entries()) {
      // Each time anew: the machine's speed changes, and half of what it did before may be all that it can do now.
      const capacity = SATURATING / (await saturate(engine, draw(SATURATING, SEED + 1)));
      const rate = share * capacity;
      const asked = draw(Math.round(rate * forSeconds), SEED + 2 + i);
      rows.push({ share, capacity, rate, ...(await arrive(engine, asked, rate, SEED + i)) });
    }
    console.log(`\nPoisson arrivals for ${forSeconds} s each, seed ${SEED}`);
    console.table(rows.map(tableRow));
    const half = rows[0]!;
    return {
      capacity_rps: round(half.capacity, 1),
      ttft_p95_half_load_ms: round(percentile(half.firstMs, 95), 1),
      itl_p99_half_load_ms: round(percentile(half.gapsMs, 99), 1),
    };
  } finally {
    await engine.close();
  }
}

/** Seconds that the requests take, all at once. */
function saturate(engine: Engine, asked: Asked[]): Promise<number> {
  const seen: Seen = { firstMs: [], gapsMs: [], doneAt: 0 };
  return seconds(() =>
    Promise.all(asked.map((one) => follow(engine, one, performance.now(), seen))),
  );
}

/** Sends each request at its time, whatever became of the others; resolves when all are answered. */
async function arrive(engine: Engine, asked: Asked[], rate: number, seed: number) {
  const seen: Seen = { firstMs: [], gapsMs: [], doneAt: 0 };
  const next = uniform(seed);
  const answers: Promise<void>[] = [];
  const start = performance.now();
  let arrival = start;
  for (const one of asked) {
    arrival += (-Math.log(1 - next()) / rate) * 1_000;
    const early = arrival - performance.now();
    if (early > 0) await sleep(early);
    answers.push(follow(engine, one, arrival, seen));
  }
  await Promise.all(answers);
  return { ...seen, throughput: (asked.length / (seen.doneAt - start)) * 1_000 };
}

/** @param arrival when the request was to be sent, on performance.now()'s clock */
async function follow(engine: Engine, asked: Asked, arrival: number, seen: Seen): Promise<void> {
  const { image, question } = asked.case;
  const content = [
    { type: "image" as const, image },
    { type: "text" as const, text: question },
  ];
  let last: number | undefined;
  for await (const piece of engine.generate({
    messages: [{ role: "user", content }],
    sampling: { temperature: 0, repetitionPenalty: 1 },
    minTokens: asked.tokens,
    maxTokens: asked.tokens,
  })) {
    if (piece.type === "prompt") continue;
    const now = performance.now();
    if (last === undefined) seen.firstMs.push(now - arrival);
    else if (piece.type !== "end") seen.gapsMs.push(now - last);
    last = now;
  }
  seen.doneAt = Math.max(seen.doneAt, last ?? 0);
}

function tableRow({ share, capacity, rate, throughput, firstMs, gapsMs }: Row) {
  const of = (values: number[], digits: number) =>
    [50, 95, 99].map((rank) => round(percentile(values, rank), digits)).join(" / ");
  return {
    "of capacity": share,
    "capacity/s": round(capacity, 1),
    "requests/s": round(rate, 1),
    "answered/s": round(throughput, 1),
    "TTFT ms, p50 / 95 / 99": of(firstMs, 0),
    "ITL ms, p50 / 95 / 99": of(gapsMs, 1),
  };
}
type Row = { share: number; capacity: number; rate: number } & Awaited<ReturnType<typeof arrive>>;

/** The smallest value that so many percent do not exceed. */
function percentile(values: number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? NaN;
}
