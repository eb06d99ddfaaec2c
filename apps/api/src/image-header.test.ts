import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { ApiError } from "./api-error.ts";
import { checkImageHeader } from "./image-header.ts";
import { png, testLimits } from "./testing.ts";

function codeOf(bytes: Uint8Array): string {
  try {
    checkImageHeader(bytes, testLimits, "p");
    return "fine";
  } catch (error) {
    if (error instanceof ApiError) return error.code;
    throw error;
  }
}

/** An animated PNG's header: `acTL` after IHDR. */
function apng(frames: number): Uint8Array {
  const plain = Buffer.from(png(16, 16));
  const chunk = Buffer.alloc(20);
  chunk.writeUInt32BE(8);
  chunk.write("acTL", 4, "latin1");
  chunk.writeUInt32BE(frames, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 16)), 16);
  return Buffer.concat([plain.subarray(0, 33), chunk, plain.subarray(33)]);
}

/** An animated WebP's headers: a canvas of 16x16, then frames without content. */
function animatedWebp(frames: number): Uint8Array {
  const chunk = (name: string, data: Buffer) => {
    const head = Buffer.alloc(8);
    head.write(name, "latin1");
    head.writeUInt32LE(data.length, 4);
    return Buffer.concat([head, data, Buffer.alloc(data.length % 2)]);
  };
  const canvas = chunk("VP8X", Buffer.from([2, 0, 0, 0, 15, 0, 0, 15, 0, 0]));
  const all = Array.from({ length: frames }, () => chunk("ANMF", Buffer.alloc(17)));
  const riff = Buffer.concat([Buffer.from("WEBP", "latin1"), canvas, ...all]);
  return chunk("RIFF", riff);
}

test("frames are counted, where the format has them", () => {
  const { imageFrames } = testLimits;
  for (const animation of [apng, animatedWebp]) {
    expect(codeOf(animation(1))).toBe("fine");
    expect(codeOf(animation(imageFrames))).toBe("fine");
    expect(codeOf(animation(imageFrames + 1))).toBe("image_too_many_frames");
  }
  expect(codeOf(apng(0xffff_ffff))).toBe("image_too_many_frames");
});

test("sides, pixels and shape", () => {
  expect(codeOf(png(7, 100))).toBe("image_too_small");
  expect(codeOf(png(8, 1_600))).toBe("fine");
  expect(codeOf(png(8, 1_601))).toBe("image_aspect_ratio");
  expect(codeOf(png(1_000, 1_000))).toBe("fine");
  expect(codeOf(png(1_000, 1_001))).toBe("image_too_large");
  expect(codeOf(png(0, 16))).toBe("invalid_image");
});

test("a header that ends early or lies about its chunks is a refusal, never an accident", () => {
  for (const whole of [apng(2), animatedWebp(2)])
    for (let length = 0; length < 80; length++)
      expect(codeOf(whole.subarray(0, length))).toMatch(/^(fine|[a-z]+_[a-z_]+)$/);
  const lying = Buffer.from(animatedWebp(2));
  lying.writeUInt32LE(0xffff_ffff, 34);
  expect(codeOf(lying)).toBe("fine");
});
