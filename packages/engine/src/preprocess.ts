/**
 * Pictures to the vision tower's input, bit for bit that of transformers' Glm46VImageProcessor (torchvision back end).
 * Heavy: runs in a worker thread.
 */
import { createHash } from "node:crypto";
import type { ImageSettings } from "./checkpoint.ts";
import { type OpenImage, openImage, type PictureLimits, type Raster } from "./decode-image.ts";
import { contextTooLong, EngineError } from "./errors.ts";
import { resizeBicubic, smartResize } from "./resize.ts";
import type { Grid } from "./types.ts";

export type Pictures = {
  /** pixel_values [patches, 3 * temporalPatch * patch * patch] of all pictures in order. */
  pixels: Float32Array<ArrayBuffer>;
  grids: Grid[];
  /** SHA-256 (hex) of `pixels` as little-endian float32. */
  digest: string;
  /** The same of each picture alone. */
  digests: string[];
};

export type Limits = PictureLimits & {
  /** Tokens that the model takes in all. */
  context: number;
};

/**
 * @throws EngineError as decodeImage does, the message saying which picture, counted from 1; `context_too_long` when the
 * pictures alone are more than the model takes, by their headers, before any of them is decoded
 */
export async function preprocess(
  files: Uint8Array[],
  settings: ImageSettings,
  limits: Limits,
): Promise<Pictures> {
  const opened: OpenImage[] = [];
  let tokens = 0;
  for (const [i, file] of files.entries()) {
    const image = await numbered(i + 1, openImage(file, limits));
    const { width, height } = smartResize(image.height, image.width, settings);
    tokens += (width * height) / (settings.patch * settings.merge) ** 2;
    if (tokens > limits.context) throw contextTooLong(tokens, limits.context);
    opened.push(image);
  }
  const resized: Raster[] = [];
  for (const [i, image] of opened.entries())
    resized.push(await numbered(i + 1, prepare(image, settings)));
  const grids = resized.map(({ width, height }): Grid => [
    1,
    height / settings.patch,
    width / settings.patch,
  ]);
  const values = resized.reduce(
    (sum, { width, height }) => sum + width * height * 3 * settings.temporalPatch,
    0,
  );
  const pixels = new Float32Array(values);
  let at = 0;
  const digests = resized.map((image) => {
    const begin = at;
    at = writePatches(image, settings, pixels, begin);
    return sha256(pixels.subarray(begin, at));
  });
  const digest = digests.length === 1 ? digests[0]! : sha256(pixels);
  return { pixels, grids, digest, digests };
}

function sha256(values: Float32Array): string {
  return createHash("sha256").update(values).digest("hex");
}

async function prepare(opened: OpenImage, settings: ImageSettings): Promise<Raster> {
  const image = await opened.decode();
  const { height, width } = smartResize(image.height, image.width, settings);
  return resizeBicubic(image, height, width);
}

async function numbered<T>(number: number, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (!(cause instanceof EngineError)) throw cause;
    throw new EngineError(cause.code, `picture ${number} ${cause.message}`, { cause });
  }
}

/**
 * Normalises and cuts into patches: blocks of merge x merge patches row by row, in each block its patches row by row,
 * in each patch channel, frame (all equal), row, column. Returns where the next picture's patches begin.
 */
function writePatches(
  image: Raster,
  settings: ImageSettings,
  pixels: Float32Array,
  begin: number,
): number {
  const { patch, merge, temporalPatch } = settings;
  const { data, width, height } = image;
  const normal = normalTable(settings);
  const block = patch * merge;
  const area = patch * patch;
  let at = begin;
  for (let blockY = 0; blockY < height; blockY += block) {
    for (let blockX = 0; blockX < width; blockX += block) {
      for (let y = blockY; y < blockY + block; y += patch) {
        for (let x = blockX; x < blockX + block; x += patch) {
          for (let channel = 0; channel < 3; channel++) {
            const first = at;
            for (let row = 0; row < patch; row++) {
              let from = ((y + row) * width + x) * 3 + channel;
              for (let column = 0; column < patch; column++, from += 3)
                pixels[at++] = normal[channel * 256 + data[from]!]!;
            }
            for (let frame = 1; frame < temporalPatch; frame++, at += area)
              pixels.copyWithin(at, first, first + area);
          }
        }
      }
    }
  }
  return at;
}

/** [3, 256]: what each byte becomes, in float32 steps: mean and std scaled by 1/rescale, then (x - mean) / std. */
function normalTable({ mean, std, rescale }: ImageSettings): Float32Array {
  const table = new Float32Array(3 * 256);
  const scaled = (value: number): number =>
    Math.fround(Math.fround(value) * Math.fround(1 / rescale));
  for (let channel = 0; channel < 3; channel++) {
    const [m, s] = [scaled(mean[channel]!), scaled(std[channel]!)];
    for (let x = 0; x < 256; x++) table[channel * 256 + x] = Math.fround(x - m) / s;
  }
  return table;
}
