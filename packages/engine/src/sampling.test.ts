import { describe, expect, test } from "vitest";
import { createDice } from "./fixtures.ts";
import type { Candidates } from "./runner.ts";
import { createSampler, type Sampler, type SamplerSettings } from "./sampling.ts";
import type { Sampling } from "./types.ts";

const PLAIN: Required<Sampling> = {
  temperature: 1,
  topP: 1,
  topK: 0,
  repetitionPenalty: 1,
  seed: 5,
};

/** What the graph does: the penalty, the k best of the row, best first, lower ids first; `extra` more, and a row before. */
function candidates(logits: ArrayLike<number>, { k, penalty }: Sampler, extra = 0): Candidates {
  const scores = Float32Array.from(logits);
  for (const id of penalty?.seen ?? [])
    scores[id]! *= scores[id]! < 0 ? penalty!.factor : 1 / penalty!.factor;
  const width = Math.min(k + extra, scores.length);
  const order = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b).slice(0, width);
  const strange = Array<number>(width).fill(77);
  const sum = scores.reduce((total, score) => total + Math.exp(score), 0);
  return {
    k: width,
    ids: Int32Array.from([...strange, ...order]),
    logits: Float32Array.from([...strange, ...order.map((id) => scores[id]!)]),
    logSumExp: Float32Array.of(77, Math.log(sum)),
  };
}
const ROW = 1;

function samplerOf(
  sampling: Partial<Sampling>,
  vocab: number,
  more: Partial<SamplerSettings> = {},
  promptIds: number[] = [],
): Sampler {
  const settings = { sampling: { ...PLAIN, ...sampling }, vocab, eosTokenIds: [], ...more };
  return createSampler(settings, promptIds);
}

const next = (sampler: Sampler, logits: ArrayLike<number>, extra = 0): number =>
  sampler.next(candidates(logits, sampler, extra), ROW);

/** Share of each id over many draws from the same logits. */
function shares(logits: number[], sampling: Partial<Sampling>, draws = 40_000): number[] {
  const sampler = samplerOf(sampling, logits.length);
  const given = candidates(logits, sampler);
  const counts = logits.map(() => 0);
  for (let i = 0; i < draws; i++) counts[sampler.next(given, ROW)]!++;
  return counts.map((count) => count / draws);
}

/** Logits whose softmax is `probabilities`. */
const logitsOf = (probabilities: number[]): number[] => probabilities.map((p) => Math.log(p) + 3);

/** The largest difference of two lists of shares; infinite where a share should be nothing and is not. */
function distance(found: number[], wanted: number[]): number {
  const differences = wanted.map((share, i) =>
    share === 0 && found[i] !== 0 ? Infinity : Math.abs(found[i]! - share),
  );
  return Math.max(...differences);
}
const NOISE = 0.012; // over 4 standard deviations of 40,000 draws

describe("greedy", () => {
  const greedy = (logits: number[], seen: number[] = [], repetitionPenalty = 1): number =>
    next(samplerOf({ temperature: 0, repetitionPenalty }, logits.length, {}, seen), logits);

  test("asks for one candidate and takes it", () => {
    expect(samplerOf({ temperature: 0, topK: 50 }, 99).k).toBe(1);
    expect(greedy([1, 4, 2, 4])).toBe(1);
    expect(greedy([-5, -4, -9])).toBe(1);
  });

  test("names what the repetition penalty counts: the prompt and its own output, each token once", () => {
    expect(greedy([2, 3, 1], [1], 2)).toBe(0);
    expect(greedy([-2, -1.5, -4], [1], 2)).toBe(0); // negative logits are multiplied
    const sampler = samplerOf({ temperature: 0, repetitionPenalty: 1.5 }, 3);
    const answers = [0, 1, 2, 3].map(() => next(sampler, [3, 2.5, 2.2]));
    expect(answers).toEqual([0, 1, 2, 0]);
    expect([...sampler.penalty!.seen]).toEqual([0, 1, 2]);
    expect(samplerOf({ repetitionPenalty: 1 }, 3).penalty).toBeUndefined();
  });

  test("remembers any number of tokens", () => {
    const sampler = samplerOf({ temperature: 0, repetitionPenalty: 1.5 }, 999, {}, [5, 5, 5]);
    for (let id = 0; id < 999; id++)
      next(
        sampler,
        Array.from({ length: 999 }, (_, i) => (i === id ? 1 : -9)),
      );
    expect([...sampler.penalty!.seen].sort((a, b) => a - b)).toEqual([...Array(999).keys()]);
  });

  test.each([[[Number.NaN, 1, 2]], [[Infinity, 1, 2]], [[-Infinity, -Infinity, -Infinity]]])(
    "refuses %j",
    (logits) => {
      expect(() => greedy(logits)).toThrow(expect.objectContaining({ code: "engine_failure" }));
    },
  );
});

describe("drawing", () => {
  test("follows the softmax at temperature 1, sharper below, flatter above", () => {
    const p = [0.5, 0.3, 0.15, 0.05];
    expect(distance(shares(logitsOf(p), {}), p)).toBeLessThan(NOISE);
    const squared = p.map((x) => x ** 2);
    const total = squared.reduce((sum, x) => sum + x);
    expect(
      distance(
        shares(logitsOf(p), { temperature: 0.5 }),
        squared.map((x) => x / total),
      ),
    ).toBeLessThan(NOISE);
  });

  test("top k keeps the k largest", () => {
    expect(
      distance(shares(logitsOf([0.1, 0.4, 0.2, 0.3]), { topK: 2 }), [0, 4 / 7, 0, 3 / 7]),
    ).toBeLessThan(NOISE);
    expect(
      distance(shares(logitsOf([0.1, 0.4, 0.2, 0.3]), { topK: 9 }), [0.1, 0.4, 0.2, 0.3]),
    ).toBeLessThan(NOISE);
  });

  test("top p keeps the smallest set that reaches p", () => {
    const p = [0.05, 0.5, 0.15, 0.3];
    expect(distance(shares(logitsOf(p), { topP: 0.6 }), [0, 0.625, 0, 0.375])).toBeLessThan(NOISE);
    expect(distance(shares(logitsOf(p), { topP: 0.45 }), [0, 1, 0, 0])).toBeLessThan(NOISE);
    expect(distance(shares(logitsOf(p), { topP: 0 }), [0, 1, 0, 0])).toBeLessThan(NOISE);
    expect(distance(shares(logitsOf(p), { topP: 0.99 }), p)).toBeLessThan(NOISE);
  });

  test("top k comes before top p, temperature before both", () => {
    // Of the top two (4/7, 3/7) the first alone reaches 0.5; of all four it would not.
    expect(
      distance(shares(logitsOf([0.1, 0.4, 0.2, 0.3]), { topK: 2, topP: 0.5 }), [0, 1, 0, 0]),
    ).toBeLessThan(NOISE);
    expect(
      distance(shares(logitsOf([0.5, 0.3, 0.2]), { temperature: 0.25, topP: 0.8 }), [1, 0, 0]),
    ).toBeLessThan(NOISE);
  });

  test("the same seed draws the same whatever else is asked for; another seed does not", () => {
    const draw = (seed: number, extra: number): number[] => {
      const sampler = samplerOf({ seed, topK: 40 }, 99);
      return Array.from({ length: 50 }, (_, i) =>
        next(
          sampler,
          Array.from({ length: 99 }, (_x, j) => Math.sin(i + j * j)),
          extra,
        ),
      );
    };
    expect(draw(1, 0)).toEqual(draw(1, 30));
    expect(draw(1, 0)).not.toEqual(draw(2, 0));
  });

  test("candidates are bounded, whatever the vocabulary", () => {
    expect(samplerOf({}, 151_552).k).toBe(256);
    expect(samplerOf({ topK: 1000 }, 151_552).k).toBe(256);
    expect(samplerOf({ topK: 2 }, 151_552).k).toBe(2);
    expect(samplerOf({}, 100).k).toBe(100);
  });
});

describe("an end token", () => {
  test.each([0, 1])(
    "does not come before the least number of tokens (temperature %j)",
    (temperature) => {
      const eosTokenIds = [1, 2, 4];
      const sampler = samplerOf({ temperature, topK: 2 }, 6, { eosTokenIds, minTokens: 3 });
      const logits = [0, 9, 8, -20, 7, -20];
      const before = [0, 1, 2].map(() => next(sampler, logits));
      expect(before.every((id) => !eosTokenIds.includes(id))).toBe(true);
      expect(sampler.k).toBe(temperature === 0 ? 1 : 2);
      expect(eosTokenIds).toContain(next(sampler, logits));
    },
  );
});

test("log-probabilities are those of the whole vocabulary after the penalty, at temperature 1", () => {
  const seed = 11;
  const dice = createDice(seed);
  const logits = Array.from({ length: 60 }, () => dice.int(-400, 400) / 100);
  const settings = { temperature: 0.3, topK: 5, repetitionPenalty: 1.3 };
  const sampler = samplerOf(settings, 60, { logprobs: 7 }, [3, 4, 5]);
  expect(sampler.k).toBe(7);
  const penalised = logits.map((x, id) =>
    [3, 4, 5].includes(id) ? (x < 0 ? x * 1.3 : x / 1.3) : x,
  );
  const total = penalised.reduce((sum, x) => sum + Math.exp(x), 0);
  const wanted = penalised.map((x, id) => ({ id, logprob: x - Math.log(total) }));
  const best = wanted.toSorted((a, b) => b.logprob - a.logprob).slice(0, 7);
  const given = candidates(logits, sampler, 9);
  const id = sampler.next(given, ROW);
  const found = sampler.logprob(given, ROW);
  expect(found.id).toBe(id);
  expect(found.logprob).toBeCloseTo(wanted[id]!.logprob, 4);
  expect(found.top.map((one) => one.id)).toEqual(best.map((one) => one.id));
  for (const [i, { logprob }] of found.top.entries())
    expect(logprob).toBeCloseTo(best[i]!.logprob, 4);
});
