/**
 * The engine on models/nano against the limit of its own graph and against what it stands in for. Variants take turns
 * in one run; figures are medians. The last line of --json is for machines.
 * Usage: node bench/engine.ts [--quick] [--json]
 */
import { availableParallelism, cpus } from "node:os";
import { join, resolve } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { prepareModel } from "@glimpse/converter";
import { measureBatching } from "./engine/batching.ts";
import { round, type Settings } from "./engine/measure.ts";
import { measurePrefillGap } from "./engine/prefill-gap.ts";
import { measureThroughput } from "./engine/throughput.ts";

const { values: args } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const root = resolve(import.meta.dirname, "..");
const dir = await prepareModel(join(root, "models/nano"), {
  cacheDir: join(root, ".glimpse/models"),
});
const settings: Settings = { dir, quick: args.quick, runs: args.quick ? 5 : 9 };

const cpu = cpus()[0]?.model ?? "unknown CPU";
console.log(`${cpu}, ${availableParallelism()} cores, Node ${process.version}`);
const resolution = 10; // ms; the histogram holds the whole time between two ticks, in nanoseconds
const loop = monitorEventLoopDelay({ resolution });
const throughput = await measureThroughput(settings);
loop.enable(); // only now: the JavaScript session runs on the event loop
const measured = {
  ...throughput,
  ...(await measureBatching(settings)),
  ...(await measurePrefillGap(settings)),
};
const p99 = round(Math.max(0, loop.percentile(99) / 1e6 - resolution), 1);
console.log(`\nEvent-loop delay of the engine alone: p99 ${p99} ms`);
const figures = { ...measured, event_loop_p99_ms: p99 };
if (args.json) console.log(JSON.stringify(figures));
