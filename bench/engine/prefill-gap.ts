/** What a long prompt does to those who are running: their worst gap between two tokens against their median gap. */
import { Engine } from "@glimpse/engine";
import { answer, median, promptIds, round, type Settings } from "./measure.ts";

const RUNNING = 15;
const PROMPT_TOKENS = 2_000;
/** Output tokens of those who run. */
const TOKENS = 300;
/** Steps that are watched before the prompt comes, and after it is read. */
const AROUND = 24;

export async function measurePrefillGap({ dir, runs }: Settings) {
  const engine = await Engine.load(dir, {
    slots: 16,
    capacity: 4_096,
    prefixCacheBytes: 0,
    tellEveryMs: 0,
  });
  try {
    const content = await longPrompt(engine);
    const worst: number[] = [];
    const middle: number[] = [];
    let read = 0;
    for (let run = -1; run < runs; run++) {
      const { gaps, promptTokens } = await once(engine, content);
      read = promptTokens;
      if (run < 0) continue; // warms up
      worst.push(Math.max(...gaps));
      middle.push(median(gaps));
    }
    console.log(
      `\nA prompt of ${read} tokens among ${RUNNING} running sequences, ms between tokens`,
    );
    console.table({ median: round(median(middle)), worst: round(median(worst)) });
    return { prefill_gap: round(median(worst.map((gap, i) => gap / middle[i]!))) };
  } finally {
    await engine.close();
  }
}

/**
 * The engine's gaps between decode steps, from all running to the long prompt's first token and a little further.
 * A token's text may wait for the next one's, so steps are seen through the engine's count of them.
 */
async function once(engine: Engine, content: string) {
  const stepped: number[] = [];
  let last = engine.stats.steps;
  const onText = () => {
    const { steps, running } = engine.stats;
    if (steps === last || running < RUNNING) return;
    last = steps;
    stepped.push(performance.now());
  };
  const others = Array.from({ length: RUNNING }, () => answer(engine, TOKENS, undefined, onText));
  while (stepped.length < AROUND) await new Promise((resolve) => setTimeout(resolve, 5));
  const { usage } = await answer(engine, 1, content);
  const during = stepped.length;
  await Promise.all(others);
  const times = stepped.slice(0, during + AROUND);
  if (times.length < during + AROUND)
    throw new Error("the prompt outlasted those who were running");
  const gaps = times.slice(1).map((time, i) => time - times[i]!);
  return { gaps, promptTokens: usage.promptTokens };
}

/** One word again and again, to about so many tokens. */
async function longPrompt(engine: Engine): Promise<string> {
  const word = " picture";
  const few = await tokensOf(engine, word.repeat(20));
  const more = await tokensOf(engine, word.repeat(40));
  const perWord = (more - few) / 20;
  return word.repeat(Math.round((PROMPT_TOKENS - (few - 20 * perWord)) / perWord));
}

async function tokensOf(engine: Engine, content: string): Promise<number> {
  return (await promptIds(engine, content)).length;
}
