/**
 * Rotary position angles, rounded where transformers rounds: inverse frequencies and angles are float32, and only then
 * come cosine and sine. An angle kept in float64 would drift from the reference with the position.
 */
import type { Manifest } from "./manifest.ts";

/** Rows of cosines and sines, one row a token. */
export type Rotation = { cos: Float32Array; sin: Float32Array };

/** theta^(-2i / dim) for i < ceil(dim / 2), in float32. */
export function inverseFrequencies(theta: number, dim: number): Float32Array {
  const { fround, pow, ceil } = Math;
  return Float32Array.from(
    { length: ceil(dim / 2) },
    (_, i) => 1 / fround(pow(theta, fround((2 * i) / dim))),
  );
}

/**
 * M-RoPE: frequency i turns with the t, h or w position, by the section it falls in.
 * @param positions [3, n], row-major
 * @returns rows [n, ceil(dim / 2)]
 */
export function textRotation(positions: Int32Array, rope: Manifest["text"]["rope"]): Rotation {
  const frequencies = inverseFrequencies(rope.theta, rope.dim);
  const axes = rope.sections.flatMap((length, section) => Array<number>(length).fill(section % 3));
  const n = positions.length / 3;
  const angles = new Float32Array(n * frequencies.length);
  for (let token = 0, at = 0; token < n; token++) {
    for (const [i, frequency] of frequencies.entries()) {
      angles[at++] = positions[axes[i]! * n + token]! * frequency;
    }
  }
  return { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
}

/**
 * The vision tower's axial rotary: the first half of a row turns with the patch's row, the second with its column.
 * Patches come in merge-block order, as in pixel_values.
 * @returns rows [h * w, headDim / 2]
 */
export function visionRotation(h: number, w: number, vision: Manifest["vision"]): Rotation {
  const { merge, headDim, ropeTheta } = vision;
  const frequencies = inverseFrequencies(ropeTheta, headDim / 2);
  const half = frequencies.length;
  const sides = Math.max(h, w);
  const angles = new Float32Array(sides * half).map(
    (_, at) => Math.floor(at / half) * frequencies[at % half]!,
  );
  // A big picture has millions of angles but few different ones.
  const spread = (table: Float32Array) => {
    const rows = new Float32Array(h * w * 2 * half);
    let at = 0;
    for (const [row, column] of mergeBlockOrder(h, w, merge)) {
      rows.set(table.subarray(row * half, (row + 1) * half), at);
      rows.set(table.subarray(column * half, (column + 1) * half), at + half);
      at += 2 * half;
    }
    return rows;
  };
  return { cos: spread(angles.map(Math.cos)), sin: spread(angles.map(Math.sin)) };
}

/** Rows and columns of patches: block by block, and row by row within a block of merge x merge. */
function* mergeBlockOrder(
  h: number,
  w: number,
  merge: number,
): Generator<[row: number, column: number]> {
  for (let blockRow = 0; blockRow < h; blockRow += merge) {
    for (let blockColumn = 0; blockColumn < w; blockColumn += merge) {
      for (let row = blockRow; row < blockRow + merge; row++) {
        for (let column = blockColumn; column < blockColumn + merge; column++) yield [row, column];
      }
    }
  }
}
