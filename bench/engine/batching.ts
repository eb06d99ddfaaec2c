/**
 * What leaving and joining at any step is worth: the same requests one by one, in static batches and all at once.
 * Output lengths are exponential, as in the field's comparisons: mean a quarter of the cap, cut at the cap.
 */
import { Engine } from "@glimpse/engine";
import { answer, interleave, round, seconds, type Settings } from "./measure.ts";

const REQUESTS = 200;
const SLOTS = 16;
const SEED = 20_261_122;

type Variant = "none" | "static" | "continuous";

export async function measureBatching({ dir, quick, runs }: Settings) {
  const cap = quick ? 32 : 128;
  const lengths = exponentialLengths(REQUESTS, cap, SEED);
  const engine = await Engine.load(dir, { slots: SLOTS, capacity: 512, prefixCacheBytes: 0 });
  try {
    const steps: Record<Variant, number> = { none: 0, static: 0, continuous: 0 };
    const rate = (name: Variant, groupSize: number) => async () => {
      const before = engine.stats.steps;
      const time = await seconds(() => inGroups(engine, lengths, groupSize));
      steps[name] = engine.stats.steps - before;
      return REQUESTS / time;
    };
    const variants: Record<Variant, () => Promise<number>> = {
      none: rate("none", 1),
      static: rate("static", SLOTS),
      continuous: rate("continuous", REQUESTS),
    };
    const rates = await interleave(variants, runs);
    const total = lengths.reduce((sum, length) => sum + length, 0);
    console.log(
      `\n${REQUESTS} requests, ${total} tokens, lengths to ${cap}, ${SLOTS} slots, seed ${SEED}`,
    );
    const names = ["none", "static", "continuous"] as const;
    const row = (name: Variant) => ({
      batching: name,
      "requests/s": round(rates[name], 1),
      "decode steps": steps[name],
    });
    console.table(names.map(row));
    return {
      continuous_gain: round(rates.continuous / rates.static),
      steps_static: steps.static,
      steps_continuous: steps.continuous,
    };
  } finally {
    await engine.close();
  }
}

/** Submits `size` requests at a time, the next ones when all have ended. */
async function inGroups(engine: Engine, lengths: number[], size: number): Promise<void> {
  for (let from = 0; from < lengths.length; from += size) {
    await Promise.all(lengths.slice(from, from + size).map((length) => answer(engine, length)));
  }
}

function exponentialLengths(count: number, cap: number, seed: number): number[] {
  const next = uniform(seed);
  const draw = () => Math.ceil((-Math.log(1 - next()) * cap) / 4);
  return Array.from({ length: count }, () => Math.min(cap, Math.max(1, draw())));
}

/** Evenly spread in [0, 1): the linear congruential generator of Numerical Recipes. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}
