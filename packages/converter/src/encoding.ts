/**
 * How weights are stored: as they are, as float16, or in blocks of few bits with a scale each, as ONNX Runtime's
 * MatMulNBits reads them. Streams of float32 pieces in, bytes out. Knows numbers only.
 */

/** int8 and int4 are the weights; what flows through the graph stays float32. */
export type Encoding = "float32" | "float16" | "int8" | "int4";

/** Every `from` elements are followed by zeros until they are `to`. */
export type Widening = { from: number; to: number };

export const BITS = { int8: 8, int4: 4 } as const;

/** How many elements of a row share a scale: the most that MatMulNBits is fast with, where that fills whole rows. */
export function blockOf(width: number): number {
  return width % 128 === 0 ? 128 : 32;
}

export type Encoded = { data: Float32Array | Float16Array | Uint8Array; scales?: Float32Array };

/** Bytes of a weight [rows, width]. */
export function sizesOf(
  encoding: Encoding,
  rows: number,
  width: number,
): { data: number; scales: number } {
  if (encoding === "float32") return { data: 4 * rows * width, scales: 0 };
  if (encoding === "float16") return { data: 2 * rows * width, scales: 0 };
  const block = blockOf(width);
  const blocks = rows * Math.ceil(width / block);
  return { data: (blocks * block * BITS[encoding]) / 8, scales: 4 * blocks };
}

export async function* widen(
  pieces: AsyncIterable<Float32Array>,
  widening?: Widening,
): AsyncGenerator<Float32Array> {
  if (!widening || widening.from === widening.to) return yield* pieces;
  const { from, to } = widening;
  for await (const segments of inMultiplesOf(from, pieces)) {
    const count = segments.length / from;
    const wide = new Float32Array(count * to);
    for (let i = 0; i < count; i++) wide.set(segments.subarray(i * from, (i + 1) * from), i * to);
    yield wide;
  }
}

/** @param pieces the elements of a weight whose rows are `width` long */
export async function* encodePieces(
  pieces: AsyncIterable<Float32Array>,
  encoding: Encoding,
  width: number,
): AsyncGenerator<Encoded> {
  if (encoding === "float32") for await (const data of pieces) yield { data };
  else if (encoding === "float16") {
    for await (const piece of pieces) yield { data: new Float16Array(piece) };
  } else {
    for await (const rows of inMultiplesOf(width, pieces)) yield quantise(rows, width, encoding);
  }
}

/**
 * Symmetric rounding to the nearest, block by block: element = scale * (code - zero), zero in the middle of the codes.
 * Four bits are few, so there the scale's sign makes the largest element one of the -8 that has no +8.
 */
export function quantise(rows: Float32Array, width: number, encoding: "int8" | "int4"): Encoded {
  const size = blockOf(width);
  const blocksARow = Math.ceil(width / size);
  const blocks = (rows.length / width) * blocksARow;
  const zero = 2 ** (BITS[encoding] - 1);
  const codes = new Uint8Array(blocks * size).fill(zero);
  const scales = new Float32Array(blocks);
  for (let block = 0; block < blocks; block++) {
    const begin = Math.floor(block / blocksARow) * width + (block % blocksARow) * size;
    const length = Math.min(size, width - (block % blocksARow) * size);
    let largest = 0;
    for (let i = begin; i < begin + length; i++) {
      if (Math.abs(rows[i]!) > Math.abs(largest)) largest = rows[i]!;
    }
    if (largest === 0) continue;
    const scale = Math.fround(encoding === "int4" ? largest / -zero : largest / (zero - 1));
    scales[block] = scale;
    for (let i = 0; i < length; i++) {
      const code = Math.round(rows[begin + i]! / scale) + zero;
      codes[block * size + i] = Math.min(code, 2 * zero - 1);
    }
  }
  return { data: encoding === "int4" ? packPairs(codes) : codes, scales };
}

/** Two codes a byte, the first in the lower half. */
function packPairs(codes: Uint8Array): Uint8Array {
  const packed = new Uint8Array(codes.length / 2);
  for (let i = 0; i < packed.length; i++) packed[i] = codes[2 * i]! | (codes[2 * i + 1]! << 4);
  return packed;
}

/** The same elements in pieces that each are whole multiples of `size`. */
async function* inMultiplesOf(
  size: number,
  pieces: AsyncIterable<Float32Array>,
): AsyncGenerator<Float32Array> {
  let rest = new Float32Array(0);
  for await (const piece of pieces) {
    const all = new Float32Array(rest.length + piece.length);
    all.set(rest);
    all.set(piece, rest.length);
    const whole = all.length - (all.length % size);
    if (whole > 0) yield all.subarray(0, whole);
    rest = all.slice(whole);
  }
}
