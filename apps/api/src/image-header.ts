/** What a picture's first bytes say: its format and its sides. Nothing is decoded; a broken picture is found by the worker. */
import { JPG } from "image-size/types/jpg";
import { PNG } from "image-size/types/png";
import { WEBP } from "image-size/types/webp";
import { ApiError } from "./api-error.ts";
import type { Limits } from "./config.ts";

const minSide = 8;
const maxAspectRatio = 200;
const formats = [
  { starts: (b: Uint8Array) => b[0] === 0xff && b[1] === 0xd8 && b[2] === 0xff, reader: JPG },
  { starts: (b: Uint8Array) => latin1(b, 0, 8) === "\x89PNG\r\n\x1a\n", reader: PNG },
  {
    starts: (b: Uint8Array) => latin1(b, 0, 4) === "RIFF" && latin1(b, 8, 12) === "WEBP",
    reader: WEBP,
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
  const { width, height } = readSides(bytes, param);
  const sides = `${width}x${height} pixels`;
  if (Math.min(width, height) < minSide) {
    const message = `The picture has ${sides}; each side needs at least ${minSide}.`;
    throw new ApiError("image_too_small", message, param);
  }
  if (width * height > limits.imagePixels) {
    const message = `The picture has ${sides}; at most ${limits.imagePixels} pixels are taken.`;
    throw new ApiError("image_too_large", message, param);
  }
  if (Math.max(width, height) / Math.min(width, height) > maxAspectRatio) {
    const message = `The picture has ${sides}; one side may be at most ${maxAspectRatio} times the other.`;
    throw new ApiError("image_aspect_ratio", message, param);
  }
}

function readSides(bytes: Uint8Array, param: string): { width: number; height: number } {
  const format = formats.find(({ starts }) => starts(bytes));
  if (format === undefined) {
    const message = "The picture is not JPEG, PNG or WebP, whatever its name says.";
    throw new ApiError("unsupported_image_media_type", message, param);
  }
  try {
    if (format.reader.validate(bytes)) {
      const { width, height } = format.reader.calculate(bytes);
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
