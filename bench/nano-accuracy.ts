/**
 * How often models/nano answers held-out pictures exactly, kind by kind, through the real engine, greedily; and how
 * long a 224x224 picture takes. Fails under 90 % in all or 80 % in any kind. `--cases DIR` takes a fresh set from
 * tools/nano/heldout.py, `--model DIR` another checkpoint.
 */
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { prepareModel } from "@glimpse/converter";
import { Engine } from "@glimpse/engine";
import { ask, readCases } from "./heldout.ts";

const root = resolve(import.meta.dirname, "..");
const { values } = parseArgs({
  options: {
    model: { type: "string", default: join(root, "models/nano") },
    cases: { type: "string", default: join(root, "models/nano/heldout") },
    misses: { type: "boolean", default: false },
  },
});

type Score = { asked: number; right: number; ms: number[] };

const dir = await prepareModel(values.model, { cacheDir: join(root, ".glimpse/models") });
// Without caches: a picture asked about again would cost next to nothing.
const engine = await Engine.load(dir, { featureCacheBytes: 0, prefixCacheBytes: 0 });
const scores = new Map<string, Score>();

for (const one of await readCases(values.cases)) {
  const { kind, file, question, answer } = one;
  const { text, ms } = await ask(engine, one);
  const score = scores.get(kind) ?? { asked: 0, right: 0, ms: [] };
  scores.set(kind, score);
  score.asked += 1;
  score.ms.push(ms);
  if (text === answer) score.right += 1;
  else if (values.misses) console.log(`${file}: ${question} ${answer} -> ${text}`);
}
const latencies = await squareLatencies();
await engine.close();

const all = total([...scores.values()]);
console.table(
  Object.fromEntries([...scores, ["all", all] as const].map(([kind, score]) => [kind, row(score)])),
);
console.log(`224x224 picture to the end of its answer: median ${median(latencies).toFixed(0)} ms`);
const low = [...scores].filter(([, score]) => share(score) < 0.8).map(([kind]) => kind);
if (share(all) < 0.9 || low.length > 0) {
  console.error(`below 90 % in all, or below 80 % in: ${low.join(", ") || "none"}`);
  process.exitCode = 1;
}

/** A 224x224 picture from the reference cases, asked nine times after one to warm up. */
async function squareLatencies(): Promise<number[]> {
  const image = await readFile(join(root, "models/nano/reference/scene-224.png"));
  const times: number[] = [];
  const question = "Describe the picture.";
  for (let i = 0; i < 10; i++) times.push((await ask(engine, { image, question })).ms);
  return times.slice(1);
}

function row(score: Score) {
  return {
    asked: score.asked,
    "exact %": Number((share(score) * 100).toFixed(1)),
    "median ms": Number(median(score.ms).toFixed(0)),
  };
}

function share({ right, asked }: Score): number {
  return right / asked;
}

function total(list: Score[]): Score {
  return {
    asked: list.reduce((sum, score) => sum + score.asked, 0),
    right: list.reduce((sum, score) => sum + score.right, 0),
    ms: list.flatMap((score) => score.ms),
  };
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
