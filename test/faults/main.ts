/**
 * Nothing lost, nothing twice, nothing stuck: the system while everything breaks. Exits with 1 when a promise was broken.
 * Usage: pnpm test:faults [storm] [--jobs 10000] [--seed N] [--json]    everything by chance, under many jobs
 *        pnpm test:faults restart [--times 40]                          workers killed at named places: how long until their jobs run again
 *        pnpm test:faults poison                                        jobs that crash their process among jobs that do not
 *        pnpm test:faults drain [--times 50] [--grace 1000]             workers asked to stop
 *        pnpm test:faults cut                                           Redis, or the way to it, in each way it can fail
 *        pnpm test:faults webhooks [--jobs 5000]                        as storm, and every job has a webhook
 *        pnpm test:faults clock [--jobs 60]                             clocks ten minutes fast and slow
 *        pnpm test:faults block [--times 5]                             processes that stand still for longer than a lease
 *        pnpm test:faults failover [--jobs 1000]                        the primary Redis dies and a replica takes over
 *        pnpm test:faults retry [--jobs 1000]                           answers lost on their way to clients that try again
 */
import { parseArgs } from "node:util";
import type { Findings } from "./checker.ts";
import { cut, cuts } from "./cut.ts";
import { drain } from "./drain.ts";
import { failover } from "./failover.ts";
import { poison } from "./poison.ts";
import type { RestartResult } from "./restart.ts";
import { places, restart } from "./restart.ts";
import { retry } from "./retry.ts";
import { storm } from "./storm.ts";
import { webhookStorm } from "./webhooks.ts";
import { block, clock } from "./time.ts";

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: "string" },
    times: { type: "string" },
    grace: { type: "string", default: "1000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    json: { type: "boolean", default: false },
  },
});
const seed = Number(args.seed);
const jobs = (fallback: number) => Number(args.jobs ?? fallback);
const times = (fallback: number) => Number(args.times ?? fallback);

/** For people; the last line is for programs and printed always. */
const tell = (...words: unknown[]) => {
  if (!args.json) console.log(...words);
};
function conclude(line: object, isRight: boolean): void {
  console.log(JSON.stringify({ ...line, seed }));
  if (!isRight) process.exitCode = 1;
}

const kinds = ["lost", "duplicated", "stuck", "gaps", "unexpected"] as const;
const isClean = (findings: Findings) => kinds.every((kind) => findings[kind].length === 0);

/** How many of each kind of wrong; the first of each are told in words. */
function countWrongs(findings: Findings): Record<(typeof kinds)[number], number> {
  for (const kind of kinds)
    for (const what of findings[kind].slice(0, 10)) tell(`${kind}: ${what}`);
  return Object.fromEntries(kinds.map((kind) => [kind, findings[kind].length])) as never;
}

const shows: Record<string, () => Promise<void>> = {
  async storm() {
    const { faults, refusals, seconds, ...findings } = await storm({ jobs: jobs(10_000), seed });
    tell(`${findings.attempted} jobs in ${seconds} s, seed ${seed}`, faults);
    tell("refused and tried again, by status:", refusals);
    const { acknowledged, recovered } = findings;
    conclude({ acknowledged, ...countWrongs(findings), recovered, seconds }, isClean(findings));
  },

  async webhooks() {
    const options = { jobs: jobs(5_000), seed, couriers: 2, settleMs: 120_000 };
    const { storm: result, untold, doubled, wrong, ...counts } = await webhookStorm(options);
    const { faults, refusals, seconds, ...findings } = result;
    tell(`${findings.attempted} jobs in ${seconds} s, seed ${seed}`, faults, refusals);
    for (const what of [...untold, ...doubled, ...wrong].slice(0, 20)) tell(what);
    const wrongs = { untold: untold.length, doubled: doubled.length, wrong: wrong.length };
    const isRight = untold.length + doubled.length + wrong.length === 0 && isClean(findings);
    conclude({ ...counts, ...wrongs, ...countWrongs(findings), seconds }, isRight);
  },

  async restart() {
    const each = Math.ceil(times(40) / places.length);
    for (const [watchedBy, limitMs] of [
      ["fleet", 2_000],
      ["worker", 6_000],
    ] as const) {
      // Where nobody sees the death it is waited for, which costs nothing; where somebody does, it is a matter of work.
      const atOnce = watchedBy === "fleet" ? 1 : places.length;
      const results: RestartResult[] = [];
      for (let i = 0; i < places.length; i += atOnce) {
        const some = places.slice(i, i + atOnce);
        results.push(...(await Promise.all(some.map((at) => restart(at, watchedBy, each, seed)))));
      }
      const all = results.flatMap(({ restartMs }) => restartMs).toSorted((a, b) => a - b);
      for (const { place, restartMs } of results) tell(`${place}: ${restartMs.join(" ")} ms`);
      const wrongs = results.map(({ findings }) => countWrongs(findings));
      const p50_ms = all[Math.floor(all.length / 2)];
      const max_ms = all.at(-1) ?? Number.NaN;
      const isRight = max_ms <= limitMs && results.every(({ findings }) => isClean(findings));
      const seen = watchedBy === "fleet";
      conclude({ seen_by_fleet: seen, n: all.length, p50_ms, max_ms, wrongs }, isRight);
    }
  },

  async poison() {
    for (const signal of ["SIGSEGV", "SIGABRT"] as const) {
      const { findings, ...result } = await poison({ innocents: 40, poisons: 3 }, signal, seed);
      const isRight = result.innocentsFailed === 0 && Math.max(...result.runsOfPoison) <= 3;
      conclude({ signal, ...result, ...countWrongs(findings) }, isRight && isClean(findings));
    }
  },

  async drain() {
    const graceMs = Number(args.grace);
    // Longer ones than the grace if that is short; if it is the default one, such as a model takes.
    const longestJobMs = Math.min(2 * graceMs, 10_000);
    const { findings, ...result } = await drain(times(50), graceMs, seed, longestJobMs);
    const { exits, stalled, slowestMs } = result;
    const isRight = exits.length === 0 && stalled === 0 && slowestMs < graceMs + 2_000;
    conclude({ graceMs, ...result, ...countWrongs(findings) }, isRight && isClean(findings));
  },

  async cut() {
    const results: Record<string, Awaited<ReturnType<typeof cut>>> = {};
    for (const name of Object.keys(cuts)) results[name] = await cut(name, 5_000);
    if (!args.json) console.table(results, ["slowestMs", "wellAfterMs"]);
    const all = Object.values(results);
    for (const what of all.flatMap(({ wrong }) => wrong).slice(0, 10)) tell(what);
    const slowest_ms = Math.max(...all.map(({ slowestMs }) => slowestMs));
    const well_after_ms = Math.max(...all.map(({ wellAfterMs }) => wellAfterMs));
    const wrong = all.flatMap((result) => result.wrong).length;
    const isRight = slowest_ms <= 1_500 && well_after_ms <= 20_000 && wrong === 0;
    conclude({ slowest_ms, well_after_ms, wrong }, isRight);
  },

  async clock() {
    const shiftMs = 600_000;
    const { findings, ...result } = await clock(shiftMs, jobs(60), seed);
    const { farthestMs, latestMs, restartMs } = result;
    const isRight = farthestMs < 5_000 && latestMs < 3_000 && restartMs <= 6_000;
    conclude({ shiftMs, ...result, ...countWrongs(findings) }, isRight && isClean(findings));
  },

  async block() {
    const blockMs = 7_000;
    const { findings, restartMs, takenOver } = await block(blockMs, times(5), seed);
    const max_ms = Math.max(...restartMs);
    const isRight = takenOver > 0 && max_ms <= 6_000 && isClean(findings);
    conclude({ blockMs, takenOver, max_ms, ...countWrongs(findings) }, isRight);
  },

  async failover() {
    const lagMs = 300;
    for (const durability of ["primary", "replica"] as const) {
      const { findings, ...result } = await failover(durability, jobs(1_000), lagMs, seed);
      const wrongs = countWrongs(findings);
      // Who acknowledges what only the primary has may lose what was on its way to the replica; the number is the window.
      const isRight = isClean(durability === "primary" ? { ...findings, lost: [] } : findings);
      conclude({ durability, lagMs, ...result, ...wrongs }, isRight);
    }
  },

  async retry() {
    const { findings, ...result } = await retry(jobs(1_000), seed);
    const isRight = result.jobs === result.keys && result.repliesLost === result.keys;
    conclude({ ...result, ...countWrongs(findings) }, isRight && isClean(findings));
  },
};

const [name = "storm"] = positionals;
const show = shows[name];
if (show === undefined) throw new Error(`${name} is none of ${Object.keys(shows).join(", ")}`);
await show();
process.exit(); // a client's connection that a silent line swallowed may be open still
