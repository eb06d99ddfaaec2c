import { expect, test } from "vitest";
import { createRandom } from "./random.ts";

// Computed in C from the authors' published code (splitmix64 feeding xoshiro128**).
const REFERENCE: [seed: number, ...numbers: number[]][] = [
  [0, 0.11944409199778216, 0.22652471303889565, 0.47561266169677097],
  [1, 0.7076259556254523, 0.3845173458295277, 0.9241832368146093],
  [1234567, 0.2898209408112902, 0.5557884272535555, 0.5108390844576196],
  [Number.MAX_SAFE_INTEGER, 0.5254896023095363, 0.4990934430564108, 0.19207147691664173],
];

test.each(REFERENCE)("seed %i gives the reference's numbers", (seed, ...numbers) => {
  const random = createRandom(seed);
  expect(numbers.map(() => random())).toEqual(numbers);
});

test("numbers are spread evenly over [0, 1)", () => {
  const random = createRandom(7);
  const bins = new Int32Array(10);
  for (let i = 0; i < 100_000; i++) bins[Math.floor(random() * 10)]!++;
  for (const count of bins) expect(Math.abs(count - 10_000)).toBeLessThan(400); // 4 standard deviations
});
