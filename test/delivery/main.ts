/**
 * Webhooks as receivers see them. Exits with 1 when a promise was broken.
 * Usage: pnpm test:delivery [behaviours|dispatch|isolation] [--json]    all without a name
 */
import { parseArgs } from "node:util";
import { startRedisServer } from "../support/redis-server.ts";
import type { Bench } from "./run.ts";
import { arrivals, percentile, runCases, startBench } from "./run.ts";

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false } },
});

/** What hangs does so for as long as by default. */
const hangs = { WEBHOOK_TIMEOUT_MS: "15000" };

const perSecond = 40;
const calm = { path: "/healthy", otherPath: "/other", perSecond };

async function withBench<T>(use: (bench: Bench) => Promise<T>, env = {}): Promise<T> {
  const redis = await startRedisServer();
  const bench = await startBench(redis.url, env);
  try {
    return await use(bench);
  } finally {
    await bench.stop();
    await redis.stop();
  }
}

const shows: Record<string, () => Promise<{ line: object; isRight: boolean }>> = {
  async behaviours() {
    const outcomes = await withBench(runCases);
    if (!args.json) console.table(outcomes.map((one) => ({ ...one, wrong: one.wrong.join("; ") })));
    const right = outcomes.filter(({ wrong }) => wrong.length === 0).length;
    return { line: { right, of: outcomes.length }, isRight: right === outcomes.length };
  },

  async dispatch() {
    const ms = await withBench(async (bench) => {
      await arrivals(bench, { ...calm, seconds: 2 }); // Everything is warm.
      return arrivals(bench, { ...calm, seconds: 15 });
    });
    const [p50_ms, p99_ms] = [percentile(ms, 0.5), percentile(ms, 0.99)];
    return { line: { webhooks: ms.length, p50_ms, p99_ms }, isRight: p99_ms <= 500 };
  },

  async isolation() {
    const rounds = await withBench(async (bench) => {
      await arrivals(bench, { ...calm, seconds: 2 });
      const calmMs: number[] = [];
      const hungMs: number[] = [];
      // By turns, so that whatever else the machine does befalls both alike.
      for (let i = 0; i < 4; i++) {
        calmMs.push(...(await arrivals(bench, { ...calm, seconds: 4 })));
        const hung = `/hangs-${i}`;
        bench.sink.behave(hung, () => {});
        hungMs.push(...(await arrivals(bench, { ...calm, otherPath: hung, seconds: 4 })));
      }
      return { calmMs, hungMs };
    }, hangs);
    const calm_p99_ms = percentile(rounds.calmMs, 0.99);
    const hung_p99_ms = percentile(rounds.hungMs, 0.99);
    const ratio = Number((hung_p99_ms / calm_p99_ms).toFixed(3));
    const missing = rounds.calmMs.length - rounds.hungMs.length;
    const line = { webhooks: rounds.hungMs.length, missing, calm_p99_ms, hung_p99_ms, ratio };
    return { line, isRight: missing === 0 && ratio <= 1.1 };
  },
};

const names = positionals.length > 0 ? positionals : Object.keys(shows);
for (const name of names) {
  const show = shows[name];
  if (show === undefined) throw new Error(`${name} is none of ${Object.keys(shows).join(", ")}`);
  const { line, isRight } = await show();
  console.log(JSON.stringify({ show: name, ...line }));
  if (!isRight) process.exitCode = 1;
}
