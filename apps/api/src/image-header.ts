/**
 * What a picture's header says: its format, sides and frames. Nothing is decoded; a broken picture is found by the
 * worker.
 */
import { JPG } from "image-size/types/jpg";
import { PNG } from "image-size/types/png";
import { WEBP } from "image-size/types/webp";
import { ApiError } from "./api-error.ts";
import type { Limits } from "./config.ts";
import { apngFrames, webpFrames } from "./image-frames.ts";

const formats = [
  {
    starts: (b: Uint8Array) => b[0] === 0xff && b[1] === 0xd8 && b[2] === 0xff,
    reader: JPG,
    frames: () => 1,
  },
  {
    starts: (b: Uint8Array) => latin1(b, 0, 8) === "\x89PNG\r\n\x1a\n",
    reader: PNG,
    frames: apngFrames,
  },
  {
    starts: (b: Uint8Array) => latin1(b, 0, 4) === "RIFF" && latin1(b, 8, 12) === "WEBP",
    reader: WEBP,
    frames: webpFrames,
  },
];

/** Throws an ApiError when the bytes are not a picture we take. `param` names the field they came in. */
export function checkImageHeader(bytes: Uint8Array, limits: Limits, param: string): void {
  if (bytes.length === 0)
    throw new ApiError("empty_image_file", "The picture has no bytes.", param);
  if (bytes.length > limits.imageBytes) {
    const message = `The picture has ${bytes.length} bytes; at most ${limits.imageBytes} are taken.`;
    throw new ApiError("image_file_too_large", message, param);
  }
  const format = formats.find(({ starts }) => starts(bytes));
  if (format === undefined) {
    const message = "The picture is not JPEG, PNG or WebP, whatever its name says.";
    throw new ApiError("unsupported_image_media_type", message, param);
  }
  const { width, height } = readSides(format.reader, bytes, param);
  const sides = `${width}x${height} pixels`;
  if (Math.min(width, height) < limits.imageSide) {
    const message = `The picture has ${sides}; each side needs at least ${limits.imageSide}.`;
    throw new ApiError("image_too_small", message, param);
  }
  if (width * height > limits.imagePixels) {
    const message = `The picture has ${sides}; at most ${limits.imagePixels} pixels are taken.`;
    throw new ApiError("image_too_large", message, param);
  }
  if (Math.max(width, height) / Math.min(width, height) > limits.imageAspectRatio) {
    const message = `The picture has ${sides}; one side may be at most ${limits.imageAspectRatio} times the other.`;
    throw new ApiError("image_aspect_ratio", message, param);
  }
  if (format.frames(bytes) > limits.imageFrames) {
    const message = `The picture has more than ${limits.imageFrames} frames.`;
    throw new ApiError("image_too_many_frames", message, param);
  }
}

function readSides(
  reader: typeof PNG,
  bytes: Uint8Array,
  param: string,
): { width: number; height: number } {
  try {
    if (reader.validate(bytes)) {
      const { width, height } = reader.calculate(bytes);
      if (Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)
        return { width, height };
    }
  } catch {
    // The reader ran off the end: the same as no header.
  }
  throw new ApiError("invalid_image", "The picture's header is damaged.", param);
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  return String.fromCharCode(...bytes.subarray(from, to));
}
