/** WebPs that break their own rules, one by one. */
import * as file from "./files.ts";
import type { Honest } from "./honest.ts";
import { pick } from "./honest.ts";
import type { Nasty } from "./nasty.ts";
import { broken, foreign, height, width } from "./nasty.ts";

export function brokenWebps(honest: Honest[]): Nasty[] {
  const is = (name: string, bytes: Buffer, right: Nasty["right"] = "any"): Nasty => ({
    id: "I1",
    name: `a WebP with ${name}`,
    bytes,
    right,
  });
  const lossy = pick(honest, "lossy.webp");
  const lossless = pick(honest, "lossless.webp");
  const patched = (bytes: Buffer, offset: number, value: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy.writeUInt32LE(value >>> 0, offset);
    return copy;
  };
  const still = lossless.subarray(12);
  return [
    ...[lossy, lossless].flatMap((bytes, i) =>
      [0, 1, 3, 4, 12, 13, 0x7fff_ffff, 0xffff_fffe, 0xffff_ffff].flatMap((length) => [
        is(`a file that says ${length} bytes (${i})`, patched(bytes, 4, length)),
        is(`a chunk that says ${length} bytes (${i})`, patched(bytes, 16, length)),
      ]),
    ),
    ...[
      [16, 16],
      [100, 100],
      [48, 41],
    ].map(([w = 0, h = 0]) =>
      is(`a canvas of ${w} x ${h} around other sides`, file.webp(file.vp8x(w, h), still)),
    ),
    ...[1, 2, 4, 8, 16, 32, 63, 255].map((flags) =>
      is(
        `flags ${flags} and nothing behind them`,
        file.webp(file.vp8x(width, height, flags), still),
      ),
    ),
    is("no picture", file.webp(file.vp8x(width, height)), broken),
    is("no chunk at all", file.webp(), [...broken, ...foreign]),
    is("two pictures", file.webp(still, still)),
    is("a header and no pixels", file.webp(file.vp8l(width, height)), broken),
    is(
      "a frame larger than the canvas",
      file.webp(
        file.vp8x(16, 16, 2),
        file.riff("ANIM", Buffer.alloc(6)),
        file.anmf(width, height, still),
      ),
    ),
    is(
      "a frame in a frame",
      file.webp(
        file.vp8x(width, height, 2),
        file.riff("ANIM", Buffer.alloc(6)),
        file.anmf(width, height, file.anmf(width, height, still)),
      ),
    ),
    is(
      "a frame and no animation",
      file.webp(file.vp8x(width, height), file.anmf(width, height, still)),
    ),
    is(
      "transparency of nothing",
      file.webp(
        file.vp8x(width, height, 16),
        file.riff("ALPH", Buffer.alloc(1)),
        lossy.subarray(12),
      ),
    ),
    is(
      "a profile of nothing",
      file.webp(file.vp8x(width, height, 32), file.riff("ICCP", Buffer.alloc(0)), still),
    ),
    is(
      "EXIF of nothing",
      file.webp(file.vp8x(width, height, 8), still, file.riff("EXIF", Buffer.alloc(0))),
    ),
    is(
      "100,000 unknown chunks",
      file.webp(
        file.vp8x(width, height),
        ...Array.from({ length: 100_000 }, () => file.riff("ABCD", Buffer.alloc(0))),
        still,
      ),
    ),
  ];
}
