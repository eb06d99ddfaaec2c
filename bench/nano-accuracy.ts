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
import { z } from "zod";

const root = resolve(import.meta.dirname, "..");
const { values } = parseArgs({
  options: {
    model: { type: "string", default: join(root, "models/nano") },
    cases: { type: "string", default: join(root, "models/nano/heldout") },
    misses: { type: "boolean", default: false },
  },
});

const Case = z.object({
  kind: z.string(),
  image: z.string(),
  question: z.string(),
  answer: z.string(),
});

type Score = { asked: number; right: number; ms: number[] };

const lines = (await readFile(join(values.cases, "cases.jsonl"), "utf8")).trim().split("\n");
const cases = lines.map((line) => Case.parse(JSON.parse(line)));
const dir = await prepareModel(values.model, { cacheDir: join(root, ".glimpse/models") });
const engine = await Engine.load(dir);
const scores = new Map<string, Score>();

for (const { kind, image, question, answer } of cases) {
  const { text, ms } = await ask(await readFile(join(values.cases, image)), question);
  const score = scores.get(kind) ?? { asked: 0, right: 0, ms: [] };
  scores.set(kind, score);
  score.asked += 1;
  score.ms.push(ms);
  if (text === answer) score.right += 1;
  else if (values.misses) console.log(`${image}: ${question} ${answer} -> ${text}`);
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

/** The greedy answer and the milliseconds from picture bytes to its end. */
async function ask(image: Uint8Array, question: string): Promise<{ text: string; ms: number }> {
  let text = "";
  const start = performance.now();
  const content = [
    { type: "image" as const, image },
    { type: "text" as const, text: question },
  ];
  const request = { messages: [{ role: "user" as const, content }], sampling: { temperature: 0 } };
  for await (const piece of engine.generate({ ...request, maxTokens: 64 }))
    if (piece.type === "delta") text += piece.text;
  return { text, ms: performance.now() - start };
}

/** A 224x224 picture from the reference cases, asked nine times after one to warm up. */
async function squareLatencies(): Promise<number[]> {
  const image = await readFile(join(root, "models/nano/reference/scene-224.png"));
  const times: number[] = [];
  for (let i = 0; i < 10; i++) times.push((await ask(image, "Describe the picture.")).ms);
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
