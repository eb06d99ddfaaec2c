/**
 * Decode steps by batch size: bare loop, engine and JavaScript session, each with the same prompts read before the
 * clock starts. The prompt is as long as that of a question about a picture of 224 x 224.
 */
import { Engine, loadRunner, readGenerationSettings } from "@glimpse/engine";
import { bareLoop } from "./bare-loop.ts";
import { answer, interleave, promptIds, round, type Settings } from "./measure.ts";

const BATCHES = [1, 4, 8, 16, 32];
/** So many tokens a prompt, about. */
const PROMPT = "What is in the picture? ".repeat(8);

/** Steps that quick ones make between two tellings, at most. */
const UNSEEN = 200;

type Rates = Record<"bare" | "engine" | "javascript", number>;

/** The engine against the others, by batch size. */
export async function measureThroughput({ dir, quick, runs }: Settings) {
  const steps = quick ? 256 : 384;
  const options = { slots: Math.max(...BATCHES), capacity: 1_024 };
  const unpaced = { prefixCacheBytes: 0, chunkSteps: Infinity, tellEveryMs: 15 }; // all are read before many steps are made
  const engine = await Engine.load(dir, { ...options, ...unpaced });
  const runner = await loadRunner(dir, { ...options, blocking: true });
  const { loadJavaScriptLoop } = await import("./javascript-loop.ts");
  const javascript = await loadJavaScriptLoop(dir);
  try {
    const prompt = await promptIds(engine, PROMPT);
    // An answer that may not end yet has to have a candidate besides all ends: what the engine asks for, the loop does.
    const k = 1 + (await readGenerationSettings(dir)).eosTokenIds.length;
    console.log(
      `\nDecode, tokens a second, ${steps} steps after prompts of ${prompt.length} tokens`,
    );
    const rows = new Map<number, Rates>();
    for (const batch of BATCHES) {
      const rate = (work: () => Promise<number>) => async () => (batch * steps) / (await work());
      const variants = {
        bare: rate(() => bareLoop(runner, prompt, batch, steps, k)),
        engine: rate(() => decodeSeconds(engine, batch, steps)),
        javascript: rate(() => javascript.run(prompt, batch, steps)),
      };
      rows.set(batch, await interleave(variants, runs));
    }
    print(rows);
    const sixteen = rows.get(16)!;
    const gains = Array.from(rows.values(), (row) => row.engine / row.javascript);
    return {
      ceiling_b16: round(sixteen.engine / sixteen.bare),
      gain_16: round(sixteen.engine / rows.get(1)!.engine),
      js_gain_min: round(Math.min(...gains)),
    };
  } finally {
    await engine.close();
    await runner.close();
    await javascript.close();
  }
}

/**
 * Seconds that the engine takes for `steps` decode steps of `batch` sequences, all prompts read. Steps are seen by the
 * engine's own count whenever text comes: the first and the last moment at which all run.
 */
async function decodeSeconds(engine: Engine, batch: number, steps: number): Promise<number> {
  let first: { at: number; steps: number } | undefined;
  let last = { at: 0, steps: 0 };
  const onText = (): void => {
    const { running, steps: count, steppedAt } = engine.stats;
    if (running < batch || count - (first?.steps ?? count) > steps) return;
    last = { at: steppedAt, steps: count };
    first ??= last;
  };
  // Those read first wait for the others, and what is told together with an end is not seen.
  const ask = () => answer(engine, steps + batch + UNSEEN, PROMPT, onText);
  await Promise.all(Array.from({ length: batch }, ask));
  const counted = last.steps - (first?.steps ?? 0);
  if (!first || counted < steps / 2) throw new Error(`${counted} steps seen of ${steps}`);
  return ((last.at - first.at) / 1_000 / counted) * steps;
}

function print(rows: Map<number, Rates>): void {
  const table = Array.from(rows, ([batch, { bare, engine, javascript }]) => ({
    batch,
    "bare loop": round(bare, 0),
    engine: round(engine, 0),
    "JavaScript session": round(javascript, 0),
    "engine / bare": round(engine / bare),
    "engine / JavaScript": round(engine / javascript),
  }));
  console.table(table);
}
