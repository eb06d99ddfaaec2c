/** Picture files from their parts, right or wrong as asked for: PNG, GIF and WebP by hand, since no encoder makes bombs. */
import { crc32, deflateSync } from "node:zlib";

export type PngParts = {
  width: number;
  height: number;
  depth?: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. */
  colour?: number;
  interlace?: number;
  /** Of the pixels, before compression; as many zeros as the sides ask for (80 MB at most) by default. */
  rows?: Buffer;
  /** Chunks between header and pixels, and after the pixels. */
  before?: Buffer[];
  after?: Buffer[];
};

const channels: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

/** A PNG chunk; `sum` only when it shall be wrong. */
export function chunk(type: string, data: Buffer, sum?: number): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const frame = Buffer.alloc(4);
  frame.writeUInt32BE(data.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(sum ?? crc32(body));
  return Buffer.concat([frame, body, check]);
}

export function pngHeader(parts: PngParts): Buffer {
  const { width, height, depth = 8, colour = 0, interlace = 0 } = parts;
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width >>> 0, 0);
  data.writeUInt32BE(height >>> 0, 4);
  data.set([depth, colour, 0, 0, interlace], 8);
  return data;
}

export function png(parts: PngParts): Buffer {
  const { width, height, depth = 8, colour = 0, before = [], after = [] } = parts;
  const stride = 1 + Math.ceil((width * depth * (channels[colour] ?? 1)) / 8);
  const rows = parts.rows ?? Buffer.alloc(Math.min(stride * height, 80_000_000));
  return Buffer.concat([
    signature,
    chunk("IHDR", pngHeader(parts)),
    ...before,
    chunk("IDAT", deflateSync(rows, { level: 1 })),
    ...after,
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** PNG's animation control: how many frames there are to come, and how often. */
export function acTL(frames: number): Buffer {
  const data = Buffer.alloc(8);
  data.writeUInt32BE(frames);
  return chunk("acTL", data);
}

/** One frame of the whole canvas, and its pixels. */
export function apngFrame(sequence: number, width: number, height: number): Buffer[] {
  const control = Buffer.alloc(26);
  control.writeUInt32BE(sequence, 0);
  control.writeUInt32BE(width, 4);
  control.writeUInt32BE(height, 8);
  const number = Buffer.alloc(4);
  number.writeUInt32BE(sequence + 1);
  const pixels = deflateSync(Buffer.alloc((width + 1) * height));
  return [chunk("fcTL", control), chunk("fdAT", Buffer.concat([number, pixels]))];
}

/** A chunk of RIFF, padded to an even length; `length` only when it shall be wrong. */
export function riff(name: string, data: Buffer, length = data.length): Buffer {
  const head = Buffer.alloc(8);
  head.write(name, "latin1");
  head.writeUInt32LE(length >>> 0, 4);
  return Buffer.concat([head, data, Buffer.alloc(data.length % 2)]);
}

export function webp(...chunks: Buffer[]): Buffer {
  return riff("RIFF", Buffer.concat([Buffer.from("WEBP", "latin1"), ...chunks]));
}

/** The extended header: a canvas of this size. */
export function vp8x(width: number, height: number, flags = 0): Buffer {
  const data = Buffer.alloc(10);
  data[0] = flags;
  data.writeUIntLE((width - 1) & 0xff_ffff, 4, 3);
  data.writeUIntLE((height - 1) & 0xff_ffff, 7, 3);
  return riff("VP8X", data);
}

/** A lossless header of this size (14 bits each), and nothing more of the picture. */
export function vp8l(width: number, height: number): Buffer {
  const data = Buffer.alloc(16);
  data[0] = 0x2f;
  data.writeUInt32LE((((width - 1) & 0x3fff) | (((height - 1) & 0x3fff) << 14)) >>> 0, 1);
  return riff("VP8L", data);
}

/** A frame of an animation around a still picture's chunks. */
export function anmf(width: number, height: number, still: Buffer): Buffer {
  const data = Buffer.alloc(16);
  data.writeUIntLE(width - 1, 6, 3);
  data.writeUIntLE(height - 1, 9, 3);
  return riff("ANMF", Buffer.concat([data, still]));
}

/** A GIF of many frames of one colour. */
export function gif(width: number, height: number, frames: number): Buffer {
  const head = Buffer.from("GIF89a\0\0\0\0\x80\0\0\0\0\0\xff\xff\xff", "latin1");
  head.writeUInt16LE(width, 6);
  head.writeUInt16LE(height, 8);
  const frame = Buffer.from("\x2c\0\0\0\0\0\0\0\0\0\x02\x02\x44\x01\0", "latin1");
  frame.writeUInt16LE(width, 5);
  frame.writeUInt16LE(height, 7);
  return Buffer.concat([head, ...Array.from({ length: frames }, () => frame), Buffer.from(";")]);
}
