import { expect, it } from "vitest";
import { inverseFrequencies, textRotation, visionRotation } from "./rotary.ts";

/** The cosine of an angle that is rounded to float32 first, as transformers does. */
const cosine = (position: number, frequency: number) =>
  Math.fround(Math.cos(Math.fround(position * Math.fround(frequency))));

it("frequencies fall from 1 by the theta", () => {
  expect([...inverseFrequencies(10_000, 8)]).toEqual([1, 0.1, 0.01, 0.001].map(Math.fround));
  expect(inverseFrequencies(10_000, 15)).toHaveLength(8);
});

it("text frequencies follow t, h, w by sections, and t again", () => {
  const positions = Int32Array.of(5, 50, /* h */ 6, 60, /* w */ 7, 70);
  const rope = { theta: 10_000, dim: 10, sections: [1, 2, 1, 1] };
  const [cos, sin] = [new Float32Array(10), new Float32Array(10)];
  textRotation(71, rope).write(positions, cos, sin);
  const frequencies = inverseFrequencies(rope.theta, rope.dim);
  const expected = [5, 6, 6, 7, 5, 50, 60, 60, 70, 50].map((position, i) =>
    cosine(position, frequencies[i % 5]!),
  );
  expect([...cos]).toEqual(expected);
  for (const [i, c] of cos.entries()) expect(c ** 2 + sin[i]! ** 2).toBeCloseTo(1, 6);
});

it("a decoded token's row is that of equal positions", () => {
  const rotation = textRotation(100, { theta: 10_000, dim: 6, sections: [1, 1, 1] });
  const arrays = () => [new Float32Array(6), new Float32Array(6)] as const;
  const [chunk, rows] = [arrays(), arrays()];
  rotation.write(Int32Array.of(9, 99, 9, 99, 9, 99), ...chunk);
  rotation.writeRow(99, 1, ...rows);
  rotation.writeRow(9, 0, ...rows);
  expect(rows).toEqual(chunk);
});

it("angles are rounded to float32 before their cosine, which shows far out", () => {
  const position = 131_071;
  const rope = { theta: 500_000, dim: 64, sections: [8, 12, 12] };
  const [cos, sin] = [new Float32Array(32), new Float32Array(32)];
  textRotation(position + 1, rope).writeRow(position, 0, cos, sin);
  const [, frequency] = inverseFrequencies(500_000, 64);
  expect(cos[1]).toBe(cosine(position, frequency!));
  expect(Math.abs(cos[1]! - Math.cos(position * frequency!))).toBeGreaterThan(1e-4);
});

it("patches turn with row and column, block by block", () => {
  const vision = { merge: 2, headDim: 8, ropeTheta: 100, patchDim: 1, tableSide: 1 };
  const { cos } = visionRotation(2, 4, vision);
  const places = [
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
    [0, 2],
    [0, 3],
    [1, 2],
    [1, 3],
  ] as const;
  const expected = places.flatMap(([row, column]) => [
    cosine(row, 1),
    cosine(row, 0.1),
    cosine(column, 1),
    cosine(column, 0.1),
  ]);
  expect([...cos]).toEqual(expected);
});
