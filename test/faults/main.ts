/**
 * Nothing lost, nothing twice, nothing stuck: many jobs while everything breaks by chance. Exits with 1 when a promise was broken.
 * Usage: pnpm test:faults [--jobs 10000] [--seed N] [--json]
 */
import { parseArgs } from "node:util";
import { storm } from "./storm.ts";

const { values: args } = parseArgs({
  options: {
    jobs: { type: "string", default: "10000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    json: { type: "boolean", default: false },
  },
});
const seed = Number(args.seed);
const result = await storm({ jobs: Number(args.jobs), seed });
const { attempted, acknowledged, recovered, faults, refusals, seconds, ...wrong } = result;
const counts = Object.fromEntries(
  Object.entries(wrong).map(([kind, found]) => [kind, found.length]),
);
if (!args.json) {
  console.log(`${attempted} jobs in ${seconds} s, seed ${seed}`);
  console.table(faults);
  console.log("refused and tried again, by status:", refusals);
  for (const [kind, found] of Object.entries(wrong))
    for (const what of found.slice(0, 10)) console.log(`${kind}: ${what}`);
}
const { lost, duplicated, stuck, gaps, unexpected } = counts;
console.log(
  JSON.stringify({ acknowledged, lost, duplicated, stuck, gaps, unexpected, recovered, seed }),
);
if (Object.values(counts).some((found) => found !== 0)) process.exitCode = 1;
