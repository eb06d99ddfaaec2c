/**
 * What a long prompt does to those who are running: their worst gap between two tokens against their median gap.
 * First by steps: the core is driven on this thread, so that what is measured is its schedule, not the threads around
 * it; as many steps behind it, without a prompt, show what of the worst is the machine's. Then by readers of an engine.
 */
import {
  type Core,
  createCore,
  DEFAULT_LIMITS,
  Engine,
  loadRunner,
  readGenerationSettings,
  startProcessorPool,
  type Work,
} from "@glimpse/engine";
import { answer, median, promptIds, round, type Settings } from "./measure.ts";

const RUNNING = 15;
const PROMPT_TOKENS = 2_000;
const SHORT_TOKENS = 66;
/** Of those who read meanwhile; their answers outlast the prompt. */
const ANSWER_TOKENS = 400;
/** Steps that are watched before the prompt comes, and after it is read. */
const AROUND = 24;

/** Milliseconds between steps, with the prompt among them and without. */
type Measured = { gaps: number[]; idle: number[]; chunks: number };

export async function measurePrefillGap(settings: Settings) {
  return { ...(await bySteps(settings)), prefill_gap_read: round(await byReaders(settings)) };
}

async function bySteps({ dir, runs }: Settings) {
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
    const of = (gaps: number[]) => ({ median: median(gaps), worst: Math.max(...gaps) });
    const table = (all: number[][]) => {
      const [middle, worst] = [
        all.map((gaps) => of(gaps).median),
        all.map((gaps) => of(gaps).worst),
      ];
      return { median: round(median(middle)), worst: round(median(worst)), ratio: ratio(all) };
    };
    const [prompt, idle] = [found.map(({ gaps }) => gaps), found.map((one) => one.idle)];
    console.log(
      `\nA prompt of ${PROMPT_TOKENS} tokens, read in ${found[0]!.chunks} chunks, among ${RUNNING} running sequences: ms between tokens`,
    );
    console.table({ "with the prompt": table(prompt), "as many steps without": table(idle) });
    return { prefill_gap: ratio(prompt), idle_gap: ratio(idle) };
  } finally {
    await core.close();
    await processor.close();
  }
}

/** The worst gap against the median gap, of the runs' ratios the median. */
function ratio(runs: number[][]): number {
  return round(median(runs.map((gaps) => Math.max(...gaps) / median(gaps))));
}

/** The gaps between decode steps while the prompt is read, and AROUND steps before and after; then as many more. */
async function once(core: Core, listen: (beforeStep: () => void) => void): Promise<Measured> {
  const times: number[] = [];
  let [begun, read, until] = [0, 0, Infinity];
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
    if (begun === 0 || promptTokens < read) return;
    if (until === Infinity) until = times.length + AROUND;
    if (times.length < 2 * until) return;
    for (const drop of others) drop(undefined);
    ended.resolve();
  });
  await ended.promise;
  while (core.stats.running > 0) await new Promise(setImmediate);
  const gaps = times.slice(1).map((time, i) => time - times[i]!);
  const [busy, idle] = [gaps.slice(0, until), gaps.slice(until)];
  return { gaps: busy, idle, chunks: until - begun - AROUND };
}

/** As readers see it: pieces of text, some tokens each, from an engine in its own thread. */
async function byReaders({ dir, runs }: Settings): Promise<number> {
  const engine = await Engine.load(dir, {
    slots: RUNNING + 1,
    capacity: 4_096,
    prefixCacheBytes: 0,
  });
  try {
    const ratios: number[] = [];
    const long = "What is in the picture? ";
    const [one, two] = [await promptIds(engine, long), await promptIds(engine, long + long)];
    const prompt = long.repeat(Math.ceil(PROMPT_TOKENS / (two.length - one.length)));
    for (let run = -1; run < runs; run++) {
      const gaps: number[] = [];
      const read = async (): Promise<void> => {
        let last: number | undefined;
        await answer(engine, ANSWER_TOKENS, undefined, () => {
          const now = performance.now();
          if (last !== undefined) gaps.push(now - last);
          last = now;
        });
      };
      const readers = Array.from({ length: RUNNING }, read);
      while (engine.stats.running < RUNNING) await new Promise(setImmediate);
      const { usage } = await answer(engine, 1, prompt);
      if (engine.stats.running < RUNNING || usage.promptTokens < PROMPT_TOKENS)
        throw new Error(`${usage.promptTokens} tokens among ${engine.stats.running}`);
      await Promise.all(readers);
      if (run >= 0) ratios.push(Math.max(...gaps) / median(gaps));
    }
    return median(ratios);
  } finally {
    await engine.close();
  }
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
