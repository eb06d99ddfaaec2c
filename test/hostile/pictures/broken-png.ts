/** PNGs that break their own rules, one by one. */
import { deflateSync } from "node:zlib";
import type { PngParts } from "./files.ts";
import * as file from "./files.ts";
import type { Nasty } from "./nasty.ts";
import { broken, height, width } from "./nasty.ts";

export function brokenPngs(): Nasty[] {
  const is = (name: string, bytes: Buffer, right: Nasty["right"] = "any"): Nasty => ({
    id: "I1",
    name: `a PNG with ${name}`,
    bytes,
    right,
  });
  const parts: PngParts = { width, height };
  const whole = file.png(parts);
  const header = (at: number, value: number): Buffer => {
    const data = file.pngHeader(parts);
    data[at] = value;
    return Buffer.concat([whole.subarray(0, 8), file.chunk("IHDR", data), whole.subarray(33)]);
  };
  const at = { depth: 8, colour: 9, compression: 10, filter: 11, interlace: 12 };
  const patched = (offset: number, value: number): Buffer => {
    const bytes = Buffer.from(whole);
    bytes.writeUInt32BE(value >>> 0, offset);
    return bytes;
  };
  const pixels = whole.subarray(33, whole.length - 12);
  const join = (...pieces: Buffer[]) => Buffer.concat([whole.subarray(0, 8), ...pieces]);
  const [head, end] = [whole.subarray(8, 33), whole.subarray(-12)];
  const filtered = (filter: number) => {
    const rows = Buffer.alloc((width + 1) * height);
    for (let y = 0; y < height; y++) rows[y * (width + 1)] = filter;
    return file.png({ ...parts, rows });
  };
  return [
    ...Object.entries(at).flatMap(([field, offset]) =>
      [1, 2, 3, 4, 5, 6, 7, 16, 17, 32, 128, 255].map((value) =>
        is(`${field} ${value}`, header(offset, value)),
      ),
    ),
    ...[0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff].flatMap((length) => [
      is(`a header that says ${length} bytes`, patched(8, length), broken),
      is(`pixels that say ${length} bytes`, patched(33, length), broken),
      is(`an end that says ${length} bytes`, patched(whole.length - 12, length)),
    ]),
    is("a header of the wrong sum", patched(29, 0x1234_5678), broken),
    is(
      "pixels of the wrong sum",
      Buffer.concat([whole.subarray(0, -16), Buffer.alloc(4), end]),
      broken,
    ),
    is("an end of the wrong sum", patched(whole.length - 4, 0)),
    is("no header", join(pixels, end), broken),
    is("no pixels", join(head, end), broken),
    is("no end", join(head, pixels), "any"),
    is("two headers", join(head, head, pixels, end)),
    is("its pixels twice", join(head, pixels, pixels, end)),
    is("its end first", join(end, head, pixels), broken),
    is(
      "a chunk that everybody must know",
      join(head, file.chunk("ABCD", Buffer.from("x")), pixels, end),
    ),
    is("a name of zeros", join(head, file.chunk("\0\0\0\0", Buffer.alloc(4)), pixels, end)),
    is("no palette", header(at.colour, 3)),
    is(
      "an empty palette",
      file.png({ ...parts, colour: 3, before: [file.chunk("PLTE", Buffer.alloc(0))] }),
    ),
    is(
      "a palette of 257",
      file.png({ ...parts, colour: 3, before: [file.chunk("PLTE", Buffer.alloc(771))] }),
    ),
    is(
      "a palette shorter than its pixels",
      file.png({
        ...parts,
        colour: 3,
        rows: Buffer.alloc((width + 1) * height, 0),
        before: [file.chunk("PLTE", Buffer.alloc(3))],
      }),
    ),
    is(
      "transparency without end",
      file.png({ ...parts, before: [file.chunk("tRNS", Buffer.alloc(9_999))] }),
    ),
    is(
      "a profile that is none",
      file.png({
        ...parts,
        before: [
          file.chunk(
            "iCCP",
            Buffer.concat([Buffer.from("x\0\0"), deflateSync(Buffer.from("no profile"))]),
          ),
        ],
      }),
    ),
    is(
      "EXIF that is none",
      file.png({
        ...parts,
        before: [file.chunk("eXIf", Buffer.from("MM\0*\xff\xff\xff\xff", "latin1"))],
      }),
    ),
    is("gamma zero", file.png({ ...parts, before: [file.chunk("gAMA", Buffer.alloc(4))] })),
    is("no density", file.png({ ...parts, before: [file.chunk("pHYs", Buffer.alloc(9))] })),
    ...[1, 2, 3, 4, 5, 255].map((filter) =>
      is(`filter ${filter} in every row`, filtered(filter), filter < 5 ? "fine" : "any"),
    ),
  ];
}
