/**
 * Decode steps by batch size: bare loop, engine and JavaScript session over the same prompts. Each round measures all
 * three one after the other and at both batch sizes that are compared, and ratios are medians over rounds of what was
 * measured in one: the machine's speed changes from second to second, so the bare loop runs before and after the engine.
 * Its steps are those that the engine's window saw, so both look at caches of one length. A prompt is as long as that of a
 * question about a picture of 336 x 336.
 */
import { Engine, loadRunner, readGenerationSettings } from "@glimpse/engine";
import { bareLoop } from "./bare-loop.ts";
import { answer, median, promptIds, round, type Settings } from "./measure.ts";

const BATCHES = [1, 16, 4, 8, 32];
/** So many tokens a prompt, about. */
const PROMPT = "What is in the picture? ".repeat(24);
/** Output tokens of each answer. */
const STEPS = 256;
/** Those in the middle of the window; a step takes longer the longer the cache, in proportion. */
const JAVASCRIPT_STEPS = 48;

/** Tokens a second, by round. */
type Rates = Record<"bare" | "engine" | "javascript", number[]>;

/** The engine against the others, by batch size. */
export async function measureThroughput({ dir, runs }: Settings) {
  const options = { slots: Math.max(...BATCHES), capacity: 1_024 };
  // All prompts are read before many steps are made.
  const engine = await Engine.load(dir, { ...options, prefixCacheBytes: 0, chunkSteps: Infinity });
  const runner = await loadRunner(dir, { ...options, blocking: true });
  const { loadJavaScriptLoop } = await import("./javascript-loop.ts");
  const javascript = await loadJavaScriptLoop(dir);
  const rates = new Map<number, Rates>();
  for (const batch of BATCHES) rates.set(batch, { bare: [], engine: [], javascript: [] });
  try {
    const prompt = await promptIds(engine, PROMPT);
    // An answer that may not end yet has to have a candidate besides all ends: what the engine asks for, the loop does.
    const k = 1 + (await readGenerationSettings(dir)).eosTokenIds.length;
    console.log(
      `\nDecode, tokens a second, ${STEPS} steps after prompts of ${prompt.length} tokens`,
    );
    for (let run = -1; run < runs; run++) {
      for (const batch of BATCHES) {
        const before = await bareLoop(runner, prompt, batch, STEPS, k);
        const window = await watchSteps(engine, batch);
        const after = await bareLoop(runner, prompt, batch, STEPS, k);
        const bareMs = (lasted(before, window) + lasted(after, window)) / 2;
        const middle = Math.round((window.from + window.to - JAVASCRIPT_STEPS) / 2);
        const longer = repeated(prompt, prompt.length + middle);
        const seconds = await javascript.run(longer, batch, JAVASCRIPT_STEPS);
        if (run < 0) continue; // the first warms up
        const { bare, engine: ours, javascript: theirs } = rates.get(batch)!;
        const tokens = batch * (window.to - window.from);
        bare.push((1_000 * tokens) / bareMs);
        ours.push((1_000 * tokens) / window.ms);
        theirs.push((batch * JAVASCRIPT_STEPS) / seconds);
      }
    }
    print(rates);
    const [one, sixteen] = [rates.get(1)!, rates.get(16)!];
    const gains = Array.from(rates.values(), ({ engine: ours, javascript: theirs }) =>
      ratio(ours, theirs),
    );
    return {
      ceiling_b16: round(ratio(sixteen.engine, sixteen.bare)),
      gain_16: round(ratio(sixteen.engine, one.engine)),
      bare_gain_16: round(ratio(sixteen.bare, one.bare)),
      js_gain_min: round(Math.min(...gains)),
    };
  } finally {
    await engine.close();
    await runner.close();
    await javascript.close();
  }
}

/** Decode steps that were watched, counted from the first, and how long they took. */
type Window = { from: number; to: number; ms: number };

/** Steps of `batch` answers while all run, by the engine's own count whenever text comes: the first and the last of those moments. */
async function watchSteps(engine: Engine, batch: number): Promise<Window> {
  const before = engine.stats.steps;
  let first: { at: number; step: number } | undefined;
  let last = { at: 0, step: 0 };
  const onText = (): void => {
    const { running, steps, steppedAt } = engine.stats;
    if (running < batch || steps === before + last.step) return;
    last = { at: steppedAt, step: steps - before };
    first ??= last;
  };
  await Promise.all(Array.from({ length: batch }, () => answer(engine, STEPS, PROMPT, onText)));
  const counted = last.step - (first?.step ?? 0);
  if (!first || counted < STEPS / 4) throw new Error(`${counted} steps seen of ${STEPS}`);
  return { from: first.step - 1, to: last.step - 1, ms: last.at - first.at };
}

/** So many tokens of the prompt, over and over. */
function repeated(prompt: Int32Array, length: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => prompt[i % prompt.length]!);
}

/** Milliseconds of the window's steps. */
function lasted(ends: Float64Array, { from, to }: Window): number {
  return ends[to]! - ends[from]!;
}

/** The median of a / b, round by round. */
function ratio(a: number[], b: number[]): number {
  return median(a.map((value, i) => value / b[i]!));
}

function print(rates: Map<number, Rates>): void {
  const table = Array.from(rates, ([batch, { bare, engine, javascript }]) => ({
    batch,
    "bare loop": round(median(bare), 0),
    engine: round(median(engine), 0),
    "JavaScript session": round(median(javascript), 0),
    "engine / bare": round(ratio(engine, bare)),
    "engine / JavaScript": round(ratio(engine, javascript)),
  }));
  console.table(table);
}
