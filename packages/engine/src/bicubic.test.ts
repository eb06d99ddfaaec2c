import { expect, it } from "vitest";
import { bicubicMatrix } from "./bicubic.ts";

function rows(size: number, side: number): number[][] {
  const matrix = bicubicMatrix(size, side);
  return Array.from({ length: size }, (_, i) => [...matrix.subarray(i * side, (i + 1) * side)]);
}

it("a table of the same size is itself", () => {
  for (const [i, row] of rows(24, 24).entries()) {
    for (const [j, weight] of row.entries()) expect(weight).toBeCloseTo(Number(i === j), 5);
  }
});

it.each([
  [1, 24],
  [3, 4],
  [78, 24],
  [138, 24],
  [2, 1],
])("%i points of %i weigh 1 each", (size, side) => {
  for (const row of rows(size, side)) {
    expect(row.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
  }
});

it("half way between entries the kernel of a = -0.75 reaches two on each side", () => {
  expect(rows(2, 4)[0]).toEqual([0.59375 - 0.09375, 0.59375, -0.09375, 0]); // the first tap is clamped onto the edge
  expect(rows(1, 4)[0]).toEqual([-0.09375, 0.59375, 0.59375, -0.09375]);
});

it("is symmetric", () => {
  const matrix = rows(37, 24);
  for (const [i, row] of matrix.entries()) {
    const mirrored = matrix[36 - i]!.toReversed();
    for (const [j, weight] of row.entries()) expect(weight).toBeCloseTo(mirrored[j]!, 4);
  }
});
