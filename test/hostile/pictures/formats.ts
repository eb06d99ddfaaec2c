/** Pictures that end early, are two things at once, or are of formats that are not taken. */
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import * as file from "./files.ts";
import type { Honest } from "./honest.ts";
import { pick } from "./honest.ts";
import type { Nasty } from "./nasty.ts";
import { broken, foreign } from "./nasty.ts";

/** Cut at every sixteenth. An animation whose first frame is whole is a picture, too. */
export function truncated([name, bytes]: Honest): Nasty[] {
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
export function polyglots([name, bytes]: Honest): Nasty[] {
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

export async function foreignFormats(honest: Honest[]): Promise<Nasty[]> {
  const image = () => sharp(pick(honest, "rgb.png"));
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
