/** Small files that would be large in memory, animations, and sides that no model wants. */
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import type { PngParts } from "./files.ts";
import * as file from "./files.ts";
import type { Honest } from "./honest.ts";
import { pick } from "./honest.ts";
import type { Nasty } from "./nasty.ts";
import { broken, height, tooLarge, tooManyFrames, tooSmall, tooThin, width } from "./nasty.ts";

const pngOf = (parts: Partial<PngParts>) => file.png({ width, height, ...parts });

/** Small files that would be large in memory. */
export function bombs(): Nasty[] {
  const is = (name: string, bytes: Buffer, right: Nasty["right"]): Nasty => ({
    id: "I6",
    name,
    bytes,
    right,
  });
  const oneBit = (side: number) => file.png({ width: side, height: side, depth: 1 });
  const zeros = deflateSync(Buffer.alloc(50_000_000));
  const text = (type: string, head: string) =>
    file.chunk(type, Buffer.concat([Buffer.from(head, "latin1"), zeros]));
  const many = (n: number, one: Buffer) => Array.from({ length: n }, () => one);
  return [
    ...[6_325, 8_000, 16_383, 20_000, 30_000].map((side) =>
      is(`a PNG of ${side} x ${side}, one bit`, oneBit(side), tooLarge),
    ),
    ...[65_535, 2 ** 24, 2 ** 31 - 1].map((side) =>
      is(
        `a PNG that says ${side} x ${side}`,
        file.png({ width: side, height: side, rows: Buffer.alloc(99) }),
        tooLarge,
      ),
    ),
    ...[2 ** 31, 2 ** 32 - 1].map((side) =>
      is(
        `a PNG that says ${side} x ${side}`,
        file.png({ width: side, height: side, rows: Buffer.alloc(99) }),
        [...tooLarge, ...broken],
      ),
    ),
    ...[6_325, 16_384].map((side) =>
      is(`a WebP of ${side} x ${side}`, file.webp(file.vp8l(side, side)), tooLarge),
    ),
    is("a WebP canvas of 2^24", file.webp(file.vp8x(2 ** 24, 2 ** 24), file.vp8l(9, 9)), tooLarge),
    is("a WebP lossless header alone, of 40 million pixels", file.webp(file.vp8l(6_324, 6_324)), [
      ...broken,
      "context_too_long",
    ]),
    is("PNG text that is 50 MB", pngOf({ before: [text("zTXt", "x\0\0")] }), "any"),
    is(
      "PNG international text that is 50 MB",
      pngOf({ before: [text("iTXt", "x\0\x01\0\0\0")] }),
      "any",
    ),
    is("a PNG profile that is 50 MB", pngOf({ before: [text("iCCP", "x\0\0")] }), "any"),
    is(
      "a PNG with 100,000 comments",
      pngOf({ before: many(100_000, file.chunk("tEXt", Buffer.from("a\0b"))) }),
      "any",
    ),
    is(
      "a PNG with 20,000 empty IDATs",
      pngOf({ after: many(20_000, file.chunk("IDAT", Buffer.alloc(0))) }),
      "any",
    ),
    is("a PNG with far more rows than it says", pngOf({ rows: Buffer.alloc(30_000_000) }), "any"),
    is("a PNG with too few rows", pngOf({ rows: Buffer.alloc(100) }), broken),
  ];
}

export function animations(honest: Honest[]): Nasty[] {
  const is = (name: string, bytes: Buffer, right: Nasty["right"]): Nasty => ({
    id: "I7",
    name,
    bytes,
    right,
  });
  const still = pick(honest, "lossless.webp").subarray(12);
  const animatedWebp = (frames: number) =>
    file.webp(
      file.vp8x(width, height, 2),
      file.riff("ANIM", Buffer.alloc(6)),
      ...Array.from({ length: frames }, () => file.anmf(width, height, still)),
    );
  const apng = (says: number, frames: number) =>
    pngOf({
      before: [file.acTL(says), file.apngFrame(0, width, height)[0]!],
      after: Array.from({ length: frames - 1 }, (_, i) =>
        file.apngFrame(2 * i + 1, width, height),
      ).flat(),
    });
  return [
    ...[1, 3, 256].map((frames) => is(`a WebP of ${frames} frames`, animatedWebp(frames), "fine")),
    ...[257, 10_000].map((frames) =>
      is(`a WebP of ${frames} frames`, animatedWebp(frames), tooManyFrames),
    ),
    is("a WebP animation without frames", animatedWebp(0), broken),
    ...[1, 3, 256].map((frames) => is(`an APNG of ${frames} frames`, apng(frames, frames), "fine")),
    ...[257, 10_000].map((frames) =>
      is(`an APNG of ${frames} frames`, apng(frames, frames), tooManyFrames),
    ),
    is("an APNG that says 2^32 - 1 frames", apng(2 ** 32 - 1, 1), tooManyFrames),
    is("an APNG that says no frames", apng(0, 1), "any"),
    is("an APNG that says fewer than it has", apng(2, 1_000), "any"),
  ];
}

/** Whole, and of sides that no model wants. */
export function sides(): Nasty[] {
  const is = (w: number, h: number, right: Nasty["right"]): Nasty[] => [
    { id: "I8", name: `a PNG of ${w} x ${h}`, bytes: file.png({ width: w, height: h }), right },
    ...(w === h
      ? []
      : [
          {
            id: "I8" as const,
            name: `a PNG of ${h} x ${w}`,
            bytes: file.png({ width: h, height: w }),
            right,
          },
        ]),
  ];
  return [
    ...is(1, 1, tooSmall),
    ...is(2, 2, tooSmall),
    ...is(7, 7, tooSmall),
    ...is(7, 500, tooSmall),
    ...is(1, 100_000, tooSmall),
    ...is(1, 2 ** 31 - 1, tooSmall),
    ...is(8, 8, "fine"),
    ...is(8, 1_600, "fine"),
    ...is(8, 1_601, tooThin),
    ...is(8, 100_000, tooThin),
    ...is(0, 0, broken),
    ...is(0, 99, broken),
    ...[
      [0, 0],
      [0, 40],
      [48, 0],
    ].map(([w = 0, h = 0]): Nasty => ({
      id: "I3",
      name: `a JPEG that says ${w} x ${h}`,
      bytes: jpegHeader(w, h),
      right: broken,
    })),
  ];
}

/** No more of a JPEG than its frame header. */
function jpegHeader(w: number, h: number): Buffer {
  const frame = Buffer.from(
    "\xff\xc0\0\x11\x08\0\0\0\0\x03\x01\x22\0\x02\x11\x01\x03\x11\x01",
    "latin1",
  );
  frame.writeUInt16BE(h, 5);
  frame.writeUInt16BE(w, 7);
  return Buffer.concat([Buffer.from([0xff, 0xd8]), frame, Buffer.from([0xff, 0xd9])]);
}

/** EXIF's orientations, and those that it does not have. */
export async function orientations(): Promise<Nasty[]> {
  const plain = await sharp({ create: { width, height, channels: 3, background: "red" } })
    .jpeg()
    .toBuffer();
  return [...Array.from({ length: 10 }, (_, i) => i), 255, 65_535].map((orientation): Nasty => {
    const exif = Buffer.from(
      "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0",
      "latin1",
    );
    exif.writeUInt16LE(orientation, 24);
    const head = Buffer.from([0xff, 0xe1, 0, exif.length + 2]);
    const bytes = Buffer.concat([plain.subarray(0, 2), head, exif, plain.subarray(2)]);
    return { id: "I10", name: `orientation ${orientation}`, bytes, right: "fine" };
  });
}
