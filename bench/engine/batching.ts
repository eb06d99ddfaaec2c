/**
 * What leaving and joining at any step is worth: the same requests one by one, in static batches and continuously.
 * Output lengths are exponential, as in the field's comparisons: mean a quarter of the cap, cut at the cap.
 */
import { Engine } from "@glimpse/engine";
import { answer, interleave, round, seconds, type Settings } from "./measure.ts";
import { exponentialLengths } from "./random.ts";

const REQUESTS = 200;
const SLOTS = 16;
const SEED = 20_261_122;

type Variant = "none" | "static" | "continuous";

/** `continuous_gain` and the step counts are those of the longest cap. */
export async function measureBatching(settings: Settings) {
  const short = settings.quick ? undefined : await measureCap(settings, 32);
  const long = await measureCap(settings, 128);
  return { ...long, ...(short && { continuous_gain_cap_32: short.continuous_gain }) };
}

async function measureCap({ dir, runs }: Settings, cap: number) {
  const lengths = exponentialLengths(REQUESTS, cap, SEED);
  const options = { slots: SLOTS, capacity: 512 };
  const engine = await Engine.load(dir, { ...options, prefixCacheBytes: 0 });
  try {
    const steps: Record<Variant, number> = { none: 0, static: 0, continuous: 0 };
    const ask = (length: number) => answer(engine, length);
    const rate = (name: Variant, work: () => Promise<unknown>) => async () => {
      const before = engine.stats.steps;
      const time = await seconds(work);
      steps[name] = engine.stats.steps - before;
      return REQUESTS / time;
    };
    const rates = await interleave(
      {
        none: rate("none", () => oneByOne(lengths, ask)),
        static: rate("static", () => staticBatches(lengths, ask)),
        continuous: rate("continuous", () => Promise.all(lengths.map(ask))),
      },
      runs,
    );
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

async function oneByOne(lengths: number[], ask: (length: number) => Promise<unknown>) {
  for (const length of lengths) await ask(length);
}

/**
 * As libraries without continuous batching do: the next batch begins when the longest answer of this one has ended, and
 * rows that have ended are computed until then.
 */
async function staticBatches(lengths: number[], ask: (length: number) => Promise<unknown>) {
  for (let from = 0; from < lengths.length; from += SLOTS) {
    const group = lengths.slice(from, from + SLOTS);
    const longest = Math.max(...group);
    await Promise.all(group.map(() => ask(longest)));
  }
}
