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

/** M-RoPE of the language model, from a table: the same few thousand angles turn up again and again. */
export type TextRotation = {
  frequencies: number;
  /**
   * Writes the rows [n, frequencies] of n tokens; frequency i turns with the t, h or w position, by its section.
   * @param positions [3, n], row-major; each below the table's `positions`
   */
  write(positions: Int32Array, cos: Float32Array, sin: Float32Array): void;
  /** Writes row `row` of a token that stands at one position on all three axes. */
  writeRow(position: number, row: number, cos: Float32Array, sin: Float32Array): void;
};

/** @param positions how many there are */
export function textRotation(positions: number, rope: Manifest["text"]["rope"]): TextRotation {
  const inverse = inverseFrequencies(rope.theta, rope.dim);
  const frequencies = inverse.length;
  const axes = rope.sections.flatMap((length, section) => Array<number>(length).fill(section % 3));
  const cosines = new Float32Array(positions * frequencies);
  const sines = new Float32Array(positions * frequencies);
  for (let position = 0, at = 0; position < positions; position++) {
    for (let i = 0; i < frequencies; i++, at++) {
      const angle = Math.fround(position * inverse[i]!);
      cosines[at] = Math.cos(angle);
      sines[at] = Math.sin(angle);
    }
  }
  return {
    frequencies,
    write(given, cos, sin) {
      const n = given.length / 3;
      for (let token = 0, at = 0; token < n; token++) {
        for (let i = 0; i < frequencies; i++, at++) {
          const from = given[axes[i]! * n + token]! * frequencies + i;
          cos[at] = cosines[from]!;
          sin[at] = sines[from]!;
        }
      }
    },
    writeRow(position, row, cos, sin) {
      let from = position * frequencies;
      for (let at = row * frequencies; at < (row + 1) * frequencies; at++, from++) {
        cos[at] = cosines[from]!;
        sin[at] = sines[from]!;
      }
    },
  };
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
