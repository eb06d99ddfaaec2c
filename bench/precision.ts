/**
 * What each precision costs and gives on models/nano: size on the disk, tokens a second with 1 and 16 at once (medians,
 * precisions take turns), answers to the held-out pictures that are exactly right, and how often answers are fp32's.
 * Usage: node bench/precision.ts [--quick] [--json]
 */
import { stat } from "node:fs/promises";
import { availableParallelism, cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { prepareModel } from "@glimpse/converter";
import { DTYPES, Engine, WEIGHTS_FILE } from "@glimpse/engine";
import { answer, interleave, round, seconds } from "./engine/measure.ts";
import { ask, readCases } from "./heldout.ts";

type Dtype = (typeof DTYPES)[number];
type Answers = { right: number; tokens: number[][] };

const { values: args } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const TOKENS = args.quick ? 32 : 64;
const RUNS = args.quick ? 3 : 5;
const BATCHES = [1, 16] as const;

const root = resolve(import.meta.dirname, "..");
const nano = join(root, "models/nano");
const cases = await readCases(join(nano, "heldout"));

const engines = {} as Record<Dtype, Engine>;
const megabytes = {} as Record<Dtype, number>;
for (const dtype of DTYPES) {
  const dir = await prepareModel(nano, { cacheDir: join(root, ".glimpse/models"), dtype });
  megabytes[dtype] = (await stat(join(dir, WEIGHTS_FILE))).size / 1e6;
  engines[dtype] = await Engine.load(dir, { capacity: 512, prefixCacheBytes: 0 });
}

const answers = {} as Record<Dtype, Answers>;
for (const dtype of DTYPES) answers[dtype] = await askAll(engines[dtype]);
const rates = new Map<number, Record<Dtype, number>>();
for (const batch of BATCHES) rates.set(batch, await decodeRates(batch));
for (const dtype of DTYPES) await engines[dtype].close();

const rows = DTYPES.map((dtype) => {
  const same = agreement(answers.fp32.tokens, answers[dtype].tokens);
  return {
    precision: dtype,
    "weights MB": round(megabytes[dtype], 1),
    "tokens/s, 1": round(rates.get(1)![dtype], 0),
    "tokens/s, 16": round(rates.get(16)![dtype], 0),
    "exact %": percent(answers[dtype].right / cases.length),
    "answers as fp32 %": percent(same.answers),
    "tokens as fp32 %": percent(same.tokens),
  };
});
console.log(`${cpus()[0]?.model}, ${availableParallelism()} cores, ${cases.length} pictures`);
console.table(rows);
if (args.json) console.log(JSON.stringify(rows));

/** All at once: an answer does not depend on its company. */
async function askAll(engine: Engine): Promise<Answers> {
  const found = await Promise.all(cases.map((one) => ask(engine, one)));
  const right = found.filter(({ text }, i) => text === cases[i]!.answer).length;
  return { right, tokens: found.map(({ tokens }) => tokens) };
}

/** Output tokens a second while `batch` requests of one length run, prompts read included. */
function decodeRates(batch: number): Promise<Record<Dtype, number>> {
  const rate = (dtype: Dtype) => async () => {
    const asked = Array.from({ length: batch }, () => answer(engines[dtype], TOKENS));
    return (batch * TOKENS) / (await seconds(() => Promise.all(asked)));
  };
  const variants = Object.fromEntries(DTYPES.map((dtype) => [dtype, rate(dtype)]));
  return interleave(variants as Record<Dtype, () => Promise<number>>, RUNS);
}

/** Shares of answers that are equal, and of the wanted tokens that come before an answer's first difference. */
function agreement(wanted: number[][], found: number[][]): { answers: number; tokens: number } {
  let [equal, agreed, total] = [0, 0, 0];
  for (const [i, tokens] of wanted.entries()) {
    const difference = tokens.findIndex((id, at) => id !== found[i]![at]);
    if (String(tokens) === String(found[i])) equal++;
    agreed += difference < 0 ? tokens.length : difference;
    total += tokens.length;
  }
  return { answers: equal / wanted.length, tokens: agreed / total };
}

function percent(share: number): number {
  return round(100 * share, 1);
}
