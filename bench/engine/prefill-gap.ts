/**
 * What a long prompt does to those who are running: their worst gap between two tokens against their median gap.
 * The core is driven on this thread, so that what is measured is its schedule, not the threads around it.
 */
import {
  type Core,
  createCore,
  DEFAULT_LIMITS,
  loadRunner,
  readGenerationSettings,
  startProcessorPool,
  type Work,
} from "@glimpse/engine";
import { median, round, type Settings } from "./measure.ts";

const RUNNING = 15;
const PROMPT_TOKENS = 2_000;
const SHORT_TOKENS = 66;
/** Steps that are watched before the prompt comes, and after it is read. */
const AROUND = 24;

type Measured = { gaps: number[]; chunks: number };

export async function measurePrefillGap({ dir, runs }: Settings) {
  const limits = { maxPixels: 1, context: 4_096 };
  const processor = await startProcessorPool({ dir, limits }, 1);
  const settings = await readGenerationSettings(dir);
  const runner = await loadRunner(dir, { slots: RUNNING + 1, capacity: 4_096, blocking: true });
  let beforeStep = (): void => {};
  const core = createCore({
    runner,
    settings,
    vocabulary: processor.vocabulary,
    limits: { ...DEFAULT_LIMITS, prefixCacheBytes: 0 },
    hooks: { beforeStep: () => beforeStep() },
  });
  try {
    const found: Measured[] = [];
    for (let run = -1; run < runs; run++) {
      const one = await once(core, (listen) => (beforeStep = listen));
      if (run >= 0) found.push(one); // the first warms up
    }
    const middle = found.map(({ gaps }) => median(gaps));
    const worst = found.map(({ gaps }) => Math.max(...gaps));
    console.log(
      `\nA prompt of ${PROMPT_TOKENS} tokens, read in ${found[0]!.chunks} chunks, among ${RUNNING} running sequences: ms between tokens`,
    );
    console.table({ median: round(median(middle)), worst: round(median(worst)) });
    return { prefill_gap: round(median(worst.map((gap, i) => gap / middle[i]!))) };
  } finally {
    await core.close();
    await processor.close();
  }
}

/** The gaps between decode steps while the prompt is read, and AROUND steps before and after. */
async function once(core: Core, listen: (beforeStep: () => void) => void): Promise<Measured> {
  const times: number[] = [];
  let [begun, read, left] = [0, 0, AROUND];
  const ended = Promise.withResolvers<void>();
  const others = Array.from({ length: RUNNING }, () => begin(core, SHORT_TOKENS, 2_000));
  listen(() => {
    const { running, steps, steppedAt, promptTokens } = core.stats;
    if (running < RUNNING || steps === 0) return;
    if (times.at(-1) !== steppedAt) times.push(steppedAt);
    if (times.length === AROUND) {
      begun = times.length;
      read = promptTokens + PROMPT_TOKENS;
      begin(core, PROMPT_TOKENS, 1);
    }
    if (begun === 0 || promptTokens < read || left-- > 0) return;
    for (const drop of others) drop(undefined);
    ended.resolve();
  });
  await ended.promise;
  while (core.stats.running > 0) await new Promise(setImmediate);
  const gaps = times.slice(1).map((time, i) => time - times[i]!);
  return { gaps, chunks: times.length - begun - AROUND };
}

/** Begins a prompt of so many tokens, an answer of so many; returns what ends it. */
function begin(core: Core, promptTokens: number, maxTokens: number) {
  const ids = Array.from({ length: promptTokens }, (_, i) => 5 + (i % 300));
  const input = { ids, pixels: new Float32Array(0), grids: [], digests: [], digest: "" };
  const request = { maxTokens, minTokens: maxTokens, sampling: { temperature: 0 } };
  const clock = { startedAt: performance.now(), deadline: Infinity, preprocessMs: 0 };
  const work: Work = { input, request, clock };
  return core.begin(work, { push() {}, end() {}, fail() {} });
}
