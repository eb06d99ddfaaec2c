import { describe, expect, test } from "vitest";
import { createSampler } from "./sampling.ts";
import type { Sampling } from "./types.ts";

const PLAIN: Required<Sampling> = {
  temperature: 1,
  topP: 1,
  topK: 0,
  repetitionPenalty: 1,
  seed: 5,
};

/** Share of each id over many draws from the same logits. */
function shares(logits: number[], sampling: Partial<Sampling>, draws = 40_000): number[] {
  const sample = createSampler({ ...PLAIN, ...sampling }, []);
  const counts = logits.map(() => 0);
  for (let i = 0; i < draws; i++) counts[sample(Float32Array.from(logits))]!++;
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
    createSampler({ ...PLAIN, temperature: 0, repetitionPenalty }, seen)(Float32Array.from(logits));

  test("takes the largest, the first of equals", () => {
    expect(greedy([1, 4, 2, 4])).toBe(1);
    expect(greedy([-5, -4, -9])).toBe(1);
  });

  test("obeys the repetition penalty, which counts the prompt and its own output", () => {
    expect(greedy([2, 3, 1], [1], 2)).toBe(0);
    expect(greedy([-2, -1.5, -4], [1], 2)).toBe(0); // negative logits are multiplied
    const sample = createSampler({ ...PLAIN, temperature: 0, repetitionPenalty: 1.5 }, []);
    const logits = Float32Array.of(3, 2.5, 2.2);
    expect([sample(logits), sample(logits), sample(logits), sample(logits)]).toEqual([0, 1, 2, 0]);
    expect([...logits]).toEqual([3, 2.5, 2.200000047683716]);
  });

  test("refuses logits that are not numbers", () => {
    expect(() => greedy([Number.NaN, 1, 2])).toThrow(
      expect.objectContaining({ code: "engine_failure" }),
    );
  });
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

  test("top k keeps the k largest, and ties with the last of them", () => {
    expect(
      distance(shares(logitsOf([0.1, 0.4, 0.2, 0.3]), { topK: 2 }), [0, 4 / 7, 0, 3 / 7]),
    ).toBeLessThan(NOISE);
    expect(distance(shares([1, 2, 1, 0], { topK: 2 }).map(Math.sign), [1, 1, 1, 0])).toBeLessThan(
      NOISE,
    );
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

  test("the same seed draws the same, another seed does not", () => {
    const draw = (seed: number): number[] => {
      const sample = createSampler({ ...PLAIN, seed }, []);
      return Array.from({ length: 50 }, (_, i) =>
        sample(Float32Array.from({ length: 99 }, (_x, j) => Math.sin(i + j * j))),
      );
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  test("a large vocabulary is not sorted", () => {
    const logits = Float32Array.from({ length: 151_552 }, (_, i) => Math.sin(i * i) * 8);
    const sample = createSampler({ ...PLAIN, topP: 0.6, topK: 2, repetitionPenalty: 1.1 }, []);
    const timeOf = (work: () => unknown): number => {
      const start = performance.now();
      for (let i = 0; i < 20; i++) work();
      return performance.now() - start;
    };
    expect(timeOf(() => sample(logits))).toBeLessThan(timeOf(() => logits.slice().sort()));
  });
});
