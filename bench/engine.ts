/**
 * The engine on models/nano against the limit of its own graph and against what it stands in for. Variants take turns
 * in one run; figures are medians. The last line of --json is for machines.
 * Usage: node bench/engine.ts [--quick] [--json]
 */
import { availableParallelism, cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { prepareModel } from "@glimpse/converter";
import { type Settings } from "./engine/measure.ts";
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
const settings: Settings = { dir, quick: args.quick, runs: args.quick ? 3 : 5 };

const cpu = cpus()[0]?.model ?? "unknown CPU";
console.log(`${cpu}, ${availableParallelism()} cores, Node ${process.version}`);
const throughput = await measureThroughput(settings);
if (args.json) console.log(JSON.stringify({ ...throughput }));
