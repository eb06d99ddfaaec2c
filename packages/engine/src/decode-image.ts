/**
 * A picture file's bytes to 8-bit RGB pixels: those that PIL gives transformers (open, exif_transpose, convert("RGB")).
 * Knows formats and limits; knows nothing of what the model does with pixels.
 */
import sharp, { type OutputInfo, type Sharp } from "sharp";
import { EngineError } from "./errors.ts";

/** Interleaved RGB, rows from the top. */
export type Raster = { data: Uint8Array; width: number; height: number };

export type PictureLimits = {
  /** Pixels of the file, width * height. */
  maxPixels: number;
  /** The shorter side at least; 8 by default. */
  minSide?: number;
  /** The longer side over the shorter; 200 by default, which is all that the model takes. */
  maxAspectRatio?: number;
  /** How long decoding may take, in whole seconds; 10 by default. */
  decodeTimeoutS?: number;
};

/** A picture of which only the header has been read: its sides, upright by EXIF. */
export type OpenImage = {
  width: number;
  height: number;
  /** @throws EngineError `invalid_image` */
  decode(): Promise<Raster>;
};

// Only these three loaders, and only from memory: no SVG, PDF or TIFF, no file paths, whatever a file's bytes say.
sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({
  operation: ["VipsForeignLoadJpegBuffer", "VipsForeignLoadPngBuffer", "VipsForeignLoadWebpBuffer"],
});
sharp.cache(false);

/**
 * Reads the header of a JPEG, PNG or WebP file and holds it to the limits; `decode` gives the pixels of its first frame,
 * upright by EXIF, alpha dropped, colour profiles ignored.
 * @throws EngineError `unsupported_image_media_type`, `invalid_image`, `image_too_small`, `image_too_large`, `image_aspect_ratio`
 */
export async function openImage(bytes: Uint8Array, limits: PictureLimits): Promise<OpenImage> {
  if (bytes.length === 0) throw new EngineError("invalid_image", "is empty");
  if (!isSupported(bytes))
    throw new EngineError(
      "unsupported_image_media_type",
      "is not a JPEG, PNG or WebP file by its first bytes",
    );
  const image = sharp(bytes, { failOn: "warning", ignoreIcc: true, limitInputPixels: false });
  const { autoOrient, space } = await ours(image.metadata());
  const { width, height } = autoOrient;
  checkSides(width, height, limits);
  const upright = image.timeout({ seconds: limits.decodeTimeoutS ?? 10 }).autoOrient();
  const decode = space === "cmyk" ? decodeCmyk : isGrey16(bytes) ? decodeGrey16 : decodeOrdinary;
  return { width, height, decode: () => ours(decode(upright)) };
}

/** Opens and decodes. */
export async function decodeImage(bytes: Uint8Array, limits: PictureLimits): Promise<Raster> {
  return (await openImage(bytes, limits)).decode();
}

/** The library's errors in our words: its own stay in the log. */
async function ours<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const isLate = cause instanceof Error && cause.message.startsWith("timeout");
    const what = isLate ? "takes too long to decode" : "is damaged or cut short";
    throw new EngineError("invalid_image", what, { cause });
  }
}

function isSupported(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 12)).toString(
    "latin1",
  );
  return (
    head.startsWith("\xff\xd8\xff") ||
    head.startsWith("\x89PNG\r\n\x1a\n") ||
    /^RIFF.{4}WEBP/s.test(head)
  );
}

function checkSides(width: number, height: number, limits: PictureLimits): void {
  const { maxPixels, minSide = 8, maxAspectRatio = 200 } = limits;
  const size = `is ${width}x${height} pixels`;
  if (Math.min(width, height) < minSide)
    throw new EngineError("image_too_small", `${size}; a side has at least ${minSide}`);
  if (width * height > maxPixels)
    throw new EngineError("image_too_large", `${size}; at most ${maxPixels} in all are accepted`);
  if (Math.max(width, height) / Math.min(width, height) > maxAspectRatio)
    throw new EngineError(
      "image_aspect_ratio",
      `${size}; a side is at most ${maxAspectRatio} times the other`,
    );
}

type Decoded = { data: Buffer; info: OutputInfo };

async function decodeOrdinary(image: Sharp): Promise<Raster> {
  const colours = image.removeAlpha().toColourspace("srgb").raw();
  const decoded = await colours.toBuffer({ resolveWithObject: true });
  const { data, info } = decoded;
  if (info.channels === 3) return { data, width: info.width, height: info.height };
  return mapPixels(decoded, (i, rgb, at) => {
    rgb[at] = data[i]!;
    rgb[at + 1] = data[i]!;
    rgb[at + 2] = data[i]!;
  });
}

/** PIL's naive conversion, ink by ink, in its integer rounding. */
async function decodeCmyk(image: Sharp): Promise<Raster> {
  const inks = image.pipelineColourspace("cmyk").toColourspace("cmyk").raw();
  const decoded = await inks.toBuffer({ resolveWithObject: true });
  const { data } = decoded;
  return mapPixels(decoded, (i, rgb, at) => {
    const light = 255 - data[i + 3]!;
    for (let ink = 0; ink < 3; ink++) {
      const product = data[i + ink]! * light + 128;
      rgb[at + ink] = light - (((product >> 8) + product) >> 8);
    }
  });
}

/** PIL reads 16-bit grey as is and clips it at 255 (other 16-bit pictures keep their high bytes, as here). */
async function decodeGrey16(image: Sharp): Promise<Raster> {
  const wide = image.removeAlpha().toColourspace("grey16").raw({ depth: "ushort" });
  const decoded = await wide.toBuffer({ resolveWithObject: true });
  const { data } = decoded;
  return mapPixels(decoded, (i, rgb, at) => {
    const value = data[2 * i + 1] === 0 ? data[2 * i]! : 255;
    rgb[at] = value;
    rgb[at + 1] = value;
    rgb[at + 2] = value;
  });
}

/** IHDR: bit depth at byte 24, colour type at 25 (0 is grey, with or without a transparent value). */
function isGrey16(bytes: Uint8Array): boolean {
  return bytes[0] === 0x89 && bytes[24] === 16 && bytes[25] === 0;
}

/** `write` puts the pixel whose first channel is number `from` into `rgb` at `to`. */
function mapPixels(
  { info }: Decoded,
  write: (from: number, rgb: Uint8Array, to: number) => void,
): Raster {
  const { width, height, channels } = info;
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) write(i * channels, rgb, i * 3);
  return { data: rgb, width, height };
}
