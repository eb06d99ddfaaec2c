import { describe, expect, it } from "vitest";
import { blockOf, encodePieces, type Encoding, quantise, sizesOf, widen } from "./encoding.ts";

/** What a generator gives for the numbers 1, 2, ... in pieces of the given lengths. */
async function* pieces(...lengths: number[]) {
  let next = 1;
  for (const length of lengths) yield Float32Array.from({ length }, () => next++);
}

/** The numbers that blocks of codes and their scales stand for. */
function decode(
  { data, scales }: ReturnType<typeof quantise>,
  encoding: "int8" | "int4",
  width: number,
): Float32Array {
  const bytes = data as Uint8Array;
  const codes =
    encoding === "int8" ? bytes : Uint8Array.from([...bytes].flatMap((b) => [b & 15, b >> 4]));
  const zero = encoding === "int8" ? 128 : 8;
  const block = blockOf(width);
  return Float32Array.from(codes, (code, i) => (code - zero) * scales![Math.floor(i / block)]!);
}

describe.each<["int8" | "int4", number]>([
  ["int8", 1 / 254],
  ["int4", 1 / 8], // one side reaches 7 steps of 8 only
])("%s", (encoding, error) => {
  it.each([
    [128, 256],
    [32, 64],
  ])("is off by half a step of its block of %i at most", (size, width) => {
    const seed = 7;
    expect(blockOf(width)).toBe(size);
    const rows = Float32Array.from({ length: 40 * width }, (_, i) => {
      const scale = 10 ** -(Math.floor(i / size) % 6);
      return scale * Math.sin(seed + i * i);
    });
    const decoded = decode(quantise(rows, width, encoding), encoding, width);
    expect(decoded).toHaveLength(rows.length);
    for (let begin = 0; begin < rows.length; begin += size) {
      const block = rows.subarray(begin, begin + size);
      const largest = Math.max(...block.map(Math.abs));
      for (const [i, value] of block.entries()) {
        const off = Math.abs(value - decoded[begin + i]!);
        expect(off, `element ${begin + i}`).toBeLessThanOrEqual(largest * error * 1.0001);
      }
    }
  });

  it("keeps zeros and each block's largest, and fills a row's last block", () => {
    const [block, width] = [32, 35];
    const rows = new Float32Array(2 * width);
    rows[5] = -3;
    rows[width + block + 2] = 0.25;
    const decoded = decode(quantise(rows, width, encoding), encoding, width);
    expect(decoded).toHaveLength(4 * block);
    for (const [i, value] of decoded.entries()) {
      const wanted = i === 5 ? -3 : i === 3 * block + 2 ? 0.25 : 0;
      expect(value, `element ${i}`).toBeCloseTo(wanted, 6);
    }
  });
});

it.each<Encoding>(["float32", "float16", "int8", "int4"])(
  "%s is as long as planned, however the pieces come",
  async (encoding) => {
    const width = 40;
    for (const lengths of [[400], [1, 399], [100, 7, 200, 93]]) {
      let [data, scales] = [0, 0];
      for await (const piece of encodePieces(pieces(...lengths), encoding, width)) {
        data += piece.data.byteLength;
        scales += piece.scales?.byteLength ?? 0;
      }
      expect({ data, scales }).toEqual(sizesOf(encoding, 10, width));
    }
  },
);

it("zeros come behind every segment, however the pieces come", async () => {
  for (const lengths of [[6], [1, 5], [2, 1, 3]]) {
    const wide = [];
    for await (const piece of widen(pieces(...lengths), { from: 3, to: 5 })) wide.push(...piece);
    expect(wide).toEqual([1, 2, 3, 0, 0, 4, 5, 6, 0, 0]);
  }
});
