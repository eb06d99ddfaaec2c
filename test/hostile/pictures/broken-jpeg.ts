/** JPEGs that break their own rules, one by one. */
import type { Honest } from "./honest.ts";
import { pick } from "./honest.ts";
import type { Nasty } from "./nasty.ts";
import { broken, tooLarge, tooThin } from "./nasty.ts";

export function brokenJpegs(honest: Honest[]): Nasty[] {
  const is = (name: string, bytes: Buffer, right: Nasty["right"] = "any"): Nasty => ({
    id: "I1",
    name: `a JPEG with ${name}`,
    bytes,
    right,
  });
  const whole = pick(honest, "ordinary.jpg");
  const markerAt = (marker: number, bytes = whole) => bytes.indexOf(Buffer.from([0xff, marker]));
  const frame = markerAt(0xc0);
  const scan = markerAt(0xda);
  const patched = (offset: number, ...values: number[]): Buffer => {
    const bytes = Buffer.from(whole);
    bytes.set(values, offset);
    return bytes;
  };
  const without = (marker: number): Buffer => {
    const begin = markerAt(marker);
    const end = begin + 2 + whole.readUInt16BE(begin + 2);
    return Buffer.concat([whole.subarray(0, begin), whole.subarray(end)]);
  };
  const insert = (offset: number, ...pieces: Buffer[]) =>
    Buffer.concat([whole.subarray(0, offset), ...pieces, whole.subarray(offset)]);
  const segment = (marker: number, data: Buffer) => {
    const head = Buffer.from([0xff, marker, 0, 0]);
    head.writeUInt16BE(data.length + 2, 2);
    return Buffer.concat([head, data]);
  };
  const progressive = pick(honest, "progressive.jpg");
  const firstScan = markerAt(0xda, progressive);
  const nextMarker = progressive.indexOf(Buffer.from([0xff, 0xc4]), firstScan + 20);
  const scans = progressive.subarray(
    firstScan,
    nextMarker === -1 ? progressive.length - 2 : nextMarker,
  );
  const manyScans = Buffer.concat([
    progressive.subarray(0, firstScan),
    ...Array.from({ length: 2_000 }, () => scans),
    progressive.subarray(-2),
  ]);
  return [
    ...[0, 1, 4, 12, 16, 255].map((bits) => is(`${bits} bits`, patched(frame + 4, bits))),
    ...[0, 1, 2, 4, 255].map((n) => is(`${n} components`, patched(frame + 9, n))),
    ...[0x00, 0x01, 0x10, 0x14, 0x41, 0x55, 0xff].map((factor) =>
      is(`sampling ${factor.toString(16)}`, patched(frame + 11, factor)),
    ),
    ...[1, 4, 255].map((table) => is(`quantisation table ${table}`, patched(frame + 12, table))),
    ...[
      [0, 0],
      [255, 255],
    ].map((side) =>
      is(
        `height ${side.join()}`,
        patched(frame + 5, ...side),
        side[0] === 0 ? broken : [...tooLarge, ...tooThin],
      ),
    ),
    is("sides of 65535", patched(frame + 5, 255, 255, 255, 255), tooLarge),
    ...[0, 1, 2, 255].flatMap((length) => [
      is(`a frame header that says ${length}`, patched(frame + 2, 0, length)),
      is(`a scan header that says ${length}`, patched(scan + 2, 0, length)),
    ]),
    ...[0xc1, 0xc2, 0xc3, 0xc5, 0xc9, 0xca, 0xcb, 0xcf].map((kind) =>
      is(`frame kind ${kind.toString(16)}`, patched(frame + 1, kind)),
    ),
    is("no quantisation tables", without(0xdb)),
    is("no Huffman table", without(0xc4)),
    is("no frame header", without(0xc0), broken),
    is("no scan", Buffer.concat([whole.subarray(0, scan), whole.subarray(-2)]), broken),
    is("two frame headers", insert(scan, whole.subarray(frame, frame + 19))),
    is("two beginnings", insert(0, whole.subarray(0, 2))),
    is("a whole picture in the middle", insert(scan, whole)),
    is("a Huffman table too full", insert(scan, segment(0xc4, Buffer.alloc(17, 255)))),
    is("a Huffman table of nothing", insert(scan, segment(0xc4, Buffer.alloc(0)))),
    is("restarts after every block", insert(scan, segment(0xdd, Buffer.from([0, 1])))),
    is(
      "a megabyte of comments",
      insert(2, ...Array.from({ length: 16 }, () => segment(0xfe, Buffer.alloc(65_000)))),
      "fine",
    ),
    is(
      "10,000 empty comments",
      insert(2, ...Array.from({ length: 10_000 }, () => segment(0xfe, Buffer.alloc(0)))),
      "any",
    ),
    is("200 KB of padding before a marker", insert(2, Buffer.alloc(200_000, 255)), "any"),
    is(
      "EXIF that points to itself",
      insert(
        2,
        segment(
          0xe1,
          Buffer.from(
            "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\x08",
            "latin1",
          ),
        ),
      ),
    ),
    is(
      "EXIF that points far away",
      insert(2, segment(0xe1, Buffer.from("Exif\0\0MM\0*\xff\xff\xff\xf0", "latin1"))),
    ),
    is(
      "XMP that is none",
      insert(2, segment(0xe1, Buffer.from("http://ns.adobe.com/xap/1.0/\0<x><x><x>", "latin1"))),
    ),
    is(
      "a profile in 255 parts, all the first",
      insert(
        2,
        ...Array.from({ length: 255 }, () =>
          segment(0xe2, Buffer.from("ICC_PROFILE\0\x01\xffjunk", "latin1")),
        ),
      ),
    ),
    is(
      "Adobe's mark and an unknown transform",
      insert(2, segment(0xee, Buffer.from("Adobe\0\x64\0\0\0\0\xff", "latin1"))),
    ),
    is("2,000 scans", manyScans),
  ];
}
