/** How long one answer takes while jobs come at a steady rate. */
import { setTimeout as sleep } from "node:timers/promises";
import { round } from "../engine/measure.ts";

export type Latency = { p50: number; p99: number };

/** Milliseconds from handing over to the answer. Jobs come when they come, however long the ones before them take. */
export async function measureAtRate(
  ask: () => Promise<void>,
  perS: number,
  forS: number,
): Promise<Latency> {
  const start = performance.now();
  const asked: Promise<number>[] = [];
  for (let i = 0; i < perS * forS; i++) {
    const at = start + (i / perS) * 1_000;
    await sleep(Math.max(0, at - performance.now()));
    asked.push(took(ask));
  }
  return percentiles(await Promise.all(asked));
}

/** The same, one job after the other. */
export async function measureIdle(ask: () => Promise<void>, times: number): Promise<Latency> {
  const values: number[] = [];
  for (let i = 0; i < times; i++) values.push(await took(ask));
  return percentiles(values);
}

async function took(ask: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await ask();
  return performance.now() - start;
}

function percentiles(values: number[]): Latency {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => round(sorted[Math.floor(share * (sorted.length - 1))]!, 2);
  return { p50: at(0.5), p99: at(0.99) };
}
