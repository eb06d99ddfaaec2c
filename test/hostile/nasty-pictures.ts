/** Pictures that hurt careless decoders, each with the only right answers to it. Nothing here is copied from anywhere. */
import { deflateSync, gzipSync } from "node:zlib";
import sharp from "sharp";
import type { PngParts } from "./picture-files.ts";
import * as file from "./picture-files.ts";

export type Nasty = {
  id: `I${number}`;
  name: string;
  bytes: Buffer;
  /** `any`: a sharp eye or a blind one, both will do; only a crash is wrong. Else the codes it may be refused with. */
  right: "fine" | "any" | readonly string[];
};

const broken = ["invalid_image"];
const foreign = ["unsupported_image_media_type"];
const tooLarge = ["image_too_large"];
const tooSmall = ["image_too_small"];
const tooThin = ["image_aspect_ratio"];
const tooManyFrames = ["image_too_many_frames"];
const [width, height] = [48, 40];

/** Honest pictures of all kinds that are taken. */
export async function honestPictures(): Promise<Record<string, Buffer>> {
  const pixels = Buffer.alloc(width * height * 3);
  for (let i = 0; i < pixels.length; i++) pixels[i] = (i * i) >> 5;
  const rgb = () => sharp(pixels, { raw: { width, height, channels: 3 } });
  const frames = sharp(Buffer.concat([pixels, pixels, pixels]), {
    raw: { width, height: 3 * height, channels: 3, pageHeight: height },
  });
  const made = {
    "ordinary.jpg": rgb().jpeg(),
    "fine.jpg": rgb().jpeg({ chromaSubsampling: "4:4:4", quality: 95 }),
    "progressive.jpg": rgb().jpeg({ progressive: true }),
    "grey.jpg": rgb().greyscale().jpeg(),
    "cmyk.jpg": rgb().toColourspace("cmyk").jpeg(),
    "rgb.png": rgb().png(),
    "rgba.png": rgb().ensureAlpha(0.5).png(),
    "grey.png": rgb().greyscale().png(),
    "palette.png": rgb().png({ palette: true, colours: 16 }),
    "interlaced.png": rgb().png({ progressive: true }),
    "16-bit.png": rgb().toColourspace("rgb16").png(),
    "lossy.webp": rgb().webp(),
    "lossless.webp": rgb().webp({ lossless: true }),
    "alpha.webp": rgb().ensureAlpha(0.5).webp(),
    "animated.webp": frames.webp({ loop: 1, delay: [9, 9, 9] }),
  };
  const files = await Promise.all(
    Object.entries(made).map(async ([name, image]) => [name, await image.toBuffer()] as const),
  );
  return Object.fromEntries(files);
}

export async function nastyPictures(): Promise<Nasty[]> {
  const honest = Object.entries(await honestPictures());
  return [
    ...honest.map(([name, bytes]): Nasty => ({ id: "I9", name, bytes, right: "fine" })),
    ...honest.flatMap(truncated),
    ...honest.flatMap(polyglots),
    ...(await foreignFormats(honest)),
    ...bombs(),
    ...animations(honest),
    ...sides(),
    ...(await orientations()),
    ...brokenPngs(),
    ...brokenJpegs(honest),
    ...brokenWebps(honest),
  ];
}

type Honest = [name: string, bytes: Buffer];
const find = (honest: Honest[], name: string) => honest.find(([known]) => known === name)![1];

/** Cut at every sixteenth. An animation whose first frame is whole is a picture, too. */
function truncated([name, bytes]: Honest): Nasty[] {
  return Array.from({ length: 16 }, (_, part): Nasty => {
    const cut = bytes.subarray(0, Math.floor((bytes.length * part) / 16));
    const right =
      part === 0
        ? ["empty_image_file"]
        : name === "animated.webp"
          ? "any"
          : [...broken, ...foreign];
    return { id: part === 0 ? "I3" : "I1", name: `${name} ${part}/16`, bytes: cut, right };
  });
}

/** A second file behind the picture, or before it; a first byte that is another's. */
function polyglots([name, bytes]: Honest): Nasty[] {
  const others = {
    html: "<html><script>alert(1)</script>",
    zip: "PK\x03\x04\x14\0\0\0\0\0PK\x05\x06",
    pdf: "%PDF-1.7\n1 0 obj<<>>endobj",
    shell: "\n#!/bin/sh\nid\n",
  };
  const both = Object.entries(others).flatMap(([kind, text]): Nasty[] => [
    {
      id: "I4",
      name: `${name} then ${kind}`,
      bytes: Buffer.concat([bytes, Buffer.from(text, "latin1")]),
      right: name.endsWith("webp") ? "any" : "fine",
    },
    {
      id: "I4",
      name: `${kind} then ${name}`,
      bytes: Buffer.concat([Buffer.from(text, "latin1"), bytes]),
      right: foreign,
    },
  ]);
  const bent = Buffer.from(bytes);
  bent[0]! ^= 1;
  return [
    ...both,
    { id: "I2", name: `${name} with another first byte`, bytes: bent, right: foreign },
  ];
}

async function foreignFormats(honest: Honest[]): Promise<Nasty[]> {
  const image = () => sharp(find(honest, "rgb.png"));
  const svg = (inside: string) =>
    `<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99">${inside}</svg>`;
  const laughs = Array.from(
    { length: 9 },
    (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`,
  ).join("");
  const files: Record<string, Buffer | string> = {
    "a GIF": await image().gif().toBuffer(),
    "a TIFF": await image().tiff().toBuffer(),
    "an AVIF": await image().avif({ effort: 0 }).toBuffer(),
    "a GIF of 65535 x 65535": file.gif(65_535, 65_535, 1),
    "a GIF of 10,000 frames": file.gif(100, 100, 10_000),
    "an SVG with a script": svg("<script>alert(1)</script>"),
    "an SVG with a file": svg('<image href="file:///etc/passwd" width="9" height="9"/>'),
    "an SVG with a URL": svg('<image href="http://127.0.0.1/" width="9" height="9"/>'),
    "an SVG with an entity": `<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>${svg("<text>&x;</text>")}`,
    "an SVG with a billion laughs": `<!DOCTYPE svg [<!ENTITY l0 "ha">${laughs}]>${svg("<text>&l9;</text>")}`,
    "a compressed SVG": gzipSync(svg("")),
    MVG: "push graphic-context\nviewbox 0 0 9 9\nfill 'url(https://127.0.0.1/)'\npop graphic-context",
    MSL: '<?xml version="1.0"?><image><read filename="/etc/passwd"/></image>',
    PDF: "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    PostScript: "%!PS-Adobe-3.0 EPSF-3.0\n",
    BMP: "BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0",
    ICO: "\0\0\x01\0\x01\0\x10\x10\0\0",
    PSD: "8BPS\0\x01\0\0\0\0\0\0\0\x03",
    "JPEG XL": "\xff\x0a\xfa\x1f\x41",
    "JPEG XL in a box": "\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG 2000": "\0\0\0\x0cjP  \r\n\x87\n",
    HEIC: "\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    EXR: "v/1\x01\x02\0\0\0",
    FITS: "SIMPLE  =                    T",
    PPM: "P6\n9 9\n255\n",
    Radiance: "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 9 +X 9\n",
    NIfTI: "\x5c\x01\0\0\0\0\0\0",
    "a raw photo": "II*\0\x10\0\0\0CR\x02\0",
    "libvips' own": "\xb6\xa6\xf2\x08\0\0\0\0",
    MATLAB: "MATLAB 5.0 MAT-file",
    "a ZIP": "PK\x03\x04",
    "a program": "\x7fELF\x02\x01\x01\0",
    "RIFF that is sound": "RIFF\x24\0\0\0WAVEfmt ",
    text: "a picture, honestly",
    "a byte": "\0",
    zeros: Buffer.alloc(1_000),
    "JPEG's first two bytes": "\xff\xd8",
    "PNG without its carriage return": "\x89PNG\n\x1a\n",
  };
  return Object.entries(files).map(([name, content]): Nasty => ({
    id: /SVG|PDF|MVG|MSL|TIFF|raw/.test(name) ? "I5" : /GIF/.test(name) ? "I7" : "I2",
    name,
    bytes: typeof content === "string" ? Buffer.from(content, "latin1") : content,
    right: foreign,
  }));
}

const pngOf = (parts: Partial<PngParts>) => file.png({ width, height, ...parts });

/** Small files that would be large in memory. */
function bombs(): Nasty[] {
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

function animations(honest: Honest[]): Nasty[] {
  const is = (name: string, bytes: Buffer, right: Nasty["right"]): Nasty => ({
    id: "I7",
    name,
    bytes,
    right,
  });
  const still = find(honest, "lossless.webp").subarray(12);
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
function sides(): Nasty[] {
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
async function orientations(): Promise<Nasty[]> {
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

function brokenPngs(): Nasty[] {
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

function brokenJpegs(honest: Honest[]): Nasty[] {
  const is = (name: string, bytes: Buffer, right: Nasty["right"] = "any"): Nasty => ({
    id: "I1",
    name: `a JPEG with ${name}`,
    bytes,
    right,
  });
  const whole = find(honest, "ordinary.jpg");
  const find2 = (marker: number, bytes = whole) => bytes.indexOf(Buffer.from([0xff, marker]));
  const frame = find2(0xc0);
  const scan = find2(0xda);
  const patched = (offset: number, ...values: number[]): Buffer => {
    const bytes = Buffer.from(whole);
    bytes.set(values, offset);
    return bytes;
  };
  const without = (marker: number): Buffer => {
    const begin = find2(marker);
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
  const progressive = find(honest, "progressive.jpg");
  const firstScan = find2(0xda, progressive);
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

function brokenWebps(honest: Honest[]): Nasty[] {
  const is = (name: string, bytes: Buffer, right: Nasty["right"] = "any"): Nasty => ({
    id: "I1",
    name: `a WebP with ${name}`,
    bytes,
    right,
  });
  const lossy = find(honest, "lossy.webp");
  const lossless = find(honest, "lossless.webp");
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
