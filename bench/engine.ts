/**
 * The engine on models/nano against the limit of its own graph and against what it stands in for. Variants take turns
 * in one run; figures are medians. The last line of --json is for machines.
 * Usage: node bench/engine.ts [--quick] [--json] [--only PART]
 */
import { availableParallelism, cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { prepareModel } from "@glimpse/converter";
import { measureArrivals } from "./engine/arrivals.ts";
import { measureBatching } from "./engine/batching.ts";
import { measureCaches } from "./engine/caches.ts";
import type { Settings } from "./engine/measure.ts";
import { measurePrefillGap } from "./engine/prefill-gap.ts";
import { measureThroughput } from "./engine/throughput.ts";
import { watchProcess, type Watched } from "./engine/watch.ts";

const { values: args } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    only: { type: "string" },
  },
});
const root = resolve(import.meta.dirname, "..");
const dir = await prepareModel(join(root, "models/nano"), {
  cacheDir: join(root, ".glimpse/models"),
});
const settings: Settings = { dir, quick: args.quick, runs: args.quick ? 5 : 9 };

const cpu = cpus()[0]?.model ?? "unknown CPU";
console.log(`${cpu}, ${availableParallelism()} cores, Node ${process.version}`);
const parts = {
  throughput: measureThroughput,
  batching: measureBatching,
  "prefill-gap": measurePrefillGap,
  caches: measureCaches,
  arrivals: measureArrivals,
};
if (args.only !== undefined && !(args.only in parts))
  throw new Error(`no part "${args.only}"; there are ${Object.keys(parts).join(", ")}`);
const figures: Record<string, number> = {};
const watched: Record<string, Watched> = {};
for (const [name, measure] of Object.entries(parts)) {
  if (args.only !== undefined && args.only !== name) continue;
  const stop = watchProcess();
  Object.assign(figures, await measure(settings));
  watched[name] = stop();
}
console.log("\nThis process meanwhile: event-loop delay, ms, and resident memory, MB");
console.table(watched);
for (const name of ["throughput", "prefill-gap"]) delete watched[name]; // what blocks there is what is measured
const delays = Object.values(watched).map(({ loopP99Ms }) => loopP99Ms);
if (delays.length > 0) figures["event_loop_p99_ms"] = Math.max(...delays);
if (args.json) console.log(JSON.stringify(figures));
