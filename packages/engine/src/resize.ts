/**
 * Bicubic resizing of 8-bit RGB, bit for bit that of transformers' torchvision back end (PyTorch's antialiased uint8
 * kernel, which is Pillow's algorithm with 16-bit weights), and the choice of the new size. Arithmetic only.
 */
import type { ImageSettings } from "./checkpoint.ts";
import type { Raster } from "./decode-image.ts";
import { EngineError } from "./errors.ts";

const MAX_ASPECT_RATIO = 200;

/**
 * The size a picture is resized to: near its own, sides multiples of patch * merge, pixels within the bounds.
 * Source: smart_resize of transformers' image_processing_glm46v.py. Throws `image_aspect_ratio`.
 */
export function smartResize(
  height: number,
  width: number,
  settings: ImageSettings,
): { height: number; width: number } {
  const { patch, merge, temporalPatch: frames, minPixels, maxPixels } = settings;
  const factor = patch * merge;
  let [h, w] = [height, width];
  if (h < factor || w < factor) {
    const scale = Math.max(factor / h, factor / w);
    h = Math.trunc(h * scale);
    w = Math.trunc(w * scale);
  }
  if (Math.max(h, w) / Math.min(h, w) > MAX_ASPECT_RATIO)
    throw new EngineError(
      "image_aspect_ratio",
      `is ${width}x${height} pixels; too long for its width`,
    );
  const rounded = {
    height: roundHalfEven(h / factor) * factor,
    width: roundHalfEven(w / factor) * factor,
  };
  const pixels = frames * rounded.height * rounded.width;
  if (pixels > maxPixels) {
    const beta = Math.sqrt((frames * h * w) / maxPixels);
    const shrink = (side: number): number =>
      Math.max(factor, Math.floor(side / beta / factor) * factor);
    return { height: shrink(h), width: shrink(w) };
  }
  if (pixels < minPixels) {
    const beta = Math.sqrt(minPixels / (frames * h * w));
    const grow = (side: number): number => Math.ceil((side * beta) / factor) * factor;
    return { height: grow(h), width: grow(w) };
  }
  return rounded;
}

/** Python's round(). */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Resizes by bicubic convolution: rows first, 8 bits between the passes; an axis that keeps its size is left alone. */
export function resizeBicubic(image: Raster, height: number, width: number): Raster {
  const wide = width === image.width ? image : resizeRows(image, width);
  return height === image.height ? wide : resizeColumns(wide, height);
}

type Kernel = {
  /** First source index and number of taps for every output index. */
  starts: Int32Array;
  counts: Int32Array;
  /** [outputs, taps] fixed-point weights with `precision` fraction bits. */
  weights: Int16Array;
  taps: number;
  precision: number;
};

/** Weights of one axis: the cubic kernel (Keys, a = -0.5), widened by the scale when shrinking. */
function createKernel(from: number, to: number): Kernel {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = 2 * stretch;
  const taps = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const exact = new Float64Array(to * taps);
  let largest = 0;
  for (let i = 0; i < to; i++) {
    const centre = scale * (i + 0.5);
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const count = Math.min(Math.trunc(centre + support + 0.5), from) - start;
    let total = 0;
    for (let j = 0; j < count; j++)
      total += exact[i * taps + j] = cubic((j + start - centre + 0.5) / stretch);
    for (let j = 0; j < count; j++) largest = Math.max(largest, (exact[i * taps + j]! /= total));
    starts[i] = start;
    counts[i] = count;
  }
  let precision = 0;
  while (precision < 22 && Math.trunc(0.5 + largest * 2 ** (precision + 1)) < 2 ** 15) precision++;
  const weights = Int16Array.from(exact, (weight) =>
    Math.trunc(weight * 2 ** precision + (weight < 0 ? -0.5 : 0.5)),
  );
  return { starts, counts, weights, taps, precision };
}

function cubic(x: number): number {
  const a = -0.5;
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return (((d - 5) * d + 8) * d - 4) * a;
  return 0;
}

function resizeRows({ data, width, height }: Raster, newWidth: number): Raster {
  const { starts, counts, weights, taps, precision } = createKernel(width, newWidth);
  const out = new Uint8ClampedArray(height * newWidth * 3);
  const half = 1 << (precision - 1);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < newWidth; x++, to += 3) {
      let from = (y * width + starts[x]!) * 3;
      let r = half;
      let g = half;
      let b = half;
      for (let k = x * taps, end = k + counts[x]!; k < end; k++, from += 3) {
        const weight = weights[k]!;
        r += weight * data[from]!;
        g += weight * data[from + 1]!;
        b += weight * data[from + 2]!;
      }
      out[to] = r >> precision;
      out[to + 1] = g >> precision;
      out[to + 2] = b >> precision;
    }
  }
  return { data: new Uint8Array(out.buffer), width: newWidth, height };
}

function resizeColumns({ data, width, height }: Raster, newHeight: number): Raster {
  const { starts, counts, weights, taps, precision } = createKernel(height, newHeight);
  const row = width * 3;
  const out = new Uint8ClampedArray(newHeight * row);
  const sums = new Int32Array(row);
  for (let y = 0; y < newHeight; y++) {
    sums.fill(1 << (precision - 1));
    for (let j = 0; j < counts[y]!; j++) {
      const weight = weights[y * taps + j]!;
      const from = (starts[y]! + j) * row;
      for (let x = 0; x < row; x++) sums[x] = sums[x]! + weight * data[from + x]!;
    }
    for (let x = 0; x < row; x++) out[y * row + x] = sums[x]! >> precision;
  }
  return { data: new Uint8Array(out.buffer), width, height: newHeight };
}
