/** Tokens a second by batch size: bare loop, engine and JavaScript session at the same work, prompts read included. */
import { Engine, loadRunner } from "@glimpse/engine";
import { bareLoop } from "./bare-loop.ts";
import { answer, interleave, promptIds, round, seconds, type Settings } from "./measure.ts";

const BATCHES = [1, 4, 8, 16, 32];

type Rates = Record<"bare" | "engine" | "javascript", number>;

/** The engine against the others, by batch size. */
export async function measureThroughput({ dir, quick, runs }: Settings) {
  const tokens = quick ? 64 : 128;
  const options = { slots: Math.max(...BATCHES), capacity: 512 };
  const engine = await Engine.load(dir, { ...options, prefixCacheBytes: 0 });
  const runner = await loadRunner(dir, options);
  const { loadJavaScriptLoop } = await import("./javascript-loop.ts");
  const javascript = await loadJavaScriptLoop(dir);
  try {
    const prompt = await promptIds(engine);
    const rows = new Map<number, Rates>();
    for (const batch of BATCHES) {
      const rate = (work: () => Promise<unknown>) => async () =>
        (batch * tokens) / (await seconds(work));
      const askAll = () => Promise.all(Array.from({ length: batch }, () => answer(engine, tokens)));
      const variants = {
        bare: rate(() => bareLoop(runner, prompt, batch, tokens)),
        engine: rate(askAll),
        javascript: rate(() => javascript.run(prompt, batch, tokens)),
      };
      rows.set(batch, await interleave(variants, runs));
    }
    print(rows, tokens);
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

function print(rows: Map<number, Rates>, tokens: number): void {
  console.log(`\nTokens a second, ${tokens} tokens a request, prompts read included`);
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
