/**
 * A picture file's bytes to 8-bit RGB pixels: those that PIL gives transformers (open, exif_transpose, convert("RGB")).
 * Knows formats and limits; knows nothing of what the model does with pixels.
 */
import sharp, { type OutputInfo, type Sharp } from "sharp";
import { EngineError } from "./errors.ts";

/** Interleaved RGB, rows from the top. */
export type Raster = { data: Uint8Array; width: number; height: number };

const MIN_SIDE = 8;
const MAX_ASPECT_RATIO = 200;

// Only these three loaders, and only from memory: no SVG, PDF or TIFF, no file paths, whatever a file's bytes say.
sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({
  operation: ["VipsForeignLoadJpegBuffer", "VipsForeignLoadPngBuffer", "VipsForeignLoadWebpBuffer"],
});
sharp.cache(false);

/**
 * Decodes JPEG, PNG or WebP (the first frame of several), upright by EXIF, alpha dropped, colour profiles ignored.
 * @param maxPixels width * height at most, read from the header before anything is decoded
 * @throws EngineError `unsupported_image_media_type`, `invalid_image`, `image_too_small`, `image_too_large`, `image_aspect_ratio`
 */
export async function decodeImage(bytes: Uint8Array, maxPixels: number): Promise<Raster> {
  if (bytes.length === 0) throw new EngineError("invalid_image", "is empty");
  if (!isSupported(bytes))
    throw new EngineError(
      "unsupported_image_media_type",
      "is not a JPEG, PNG or WebP file by its first bytes",
    );
  try {
    const image = sharp(bytes, { failOn: "warning", ignoreIcc: true, limitInputPixels: false });
    const { width, height, space } = await image.metadata();
    checkSides(width, height, maxPixels);
    const upright = image.autoOrient();
    if (space === "cmyk") return await decodeCmyk(upright);
    if (isGrey16(bytes)) return await decodeGrey16(upright);
    return raster(
      await upright.removeAlpha().toColourspace("srgb").raw().toBuffer({ resolveWithObject: true }),
    );
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError("invalid_image", "is damaged or cut short", { cause });
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

function checkSides(width: number, height: number, maxPixels: number): void {
  const size = `is ${width}x${height} pixels`;
  if (Math.min(width, height) < MIN_SIDE)
    throw new EngineError("image_too_small", `${size}; a side has at least ${MIN_SIDE}`);
  if (width * height > maxPixels)
    throw new EngineError("image_too_large", `${size}; at most ${maxPixels} in all are accepted`);
  if (Math.max(width, height) / Math.min(width, height) > MAX_ASPECT_RATIO)
    throw new EngineError(
      "image_aspect_ratio",
      `${size}; a side is at most ${MAX_ASPECT_RATIO} times the other`,
    );
}

type Decoded = { data: Buffer; info: OutputInfo };

function raster({ data, info }: Decoded): Raster {
  if (info.channels === 3) return { data, width: info.width, height: info.height };
  return mapPixels({ data, info }, data, (grey, i) => [grey[i]!, grey[i]!, grey[i]!]);
}

/** PIL's naive conversion, ink by ink, in its integer rounding. */
async function decodeCmyk(image: Sharp): Promise<Raster> {
  const inks = image.pipelineColourspace("cmyk").toColourspace("cmyk").raw();
  const decoded = await inks.toBuffer({ resolveWithObject: true });
  return mapPixels(decoded, decoded.data, (cmyk, i) => {
    const light = 255 - cmyk[i + 3]!;
    const channel = (ink: number): number => {
      const product = ink * light + 128;
      return light - (((product >> 8) + product) >> 8);
    };
    return [channel(cmyk[i]!), channel(cmyk[i + 1]!), channel(cmyk[i + 2]!)];
  });
}

/** PIL reads 16-bit grey as is and clips it at 255 (other 16-bit pictures keep their high bytes, as here). */
async function decodeGrey16(image: Sharp): Promise<Raster> {
  const wide = image.removeAlpha().toColourspace("grey16").raw({ depth: "ushort" });
  const decoded = await wide.toBuffer({ resolveWithObject: true });
  const values = new Uint16Array(Uint8Array.from(decoded.data).buffer);
  return mapPixels(decoded, values, (grey, i) => {
    const value = Math.min(grey[i]!, 255);
    return [value, value, value];
  });
}

/** IHDR: bit depth at byte 24, colour type at 25 (0 is grey, with or without a transparent value). */
function isGrey16(bytes: Uint8Array): boolean {
  return bytes[0] === 0x89 && bytes[24] === 16 && bytes[25] === 0;
}

function mapPixels<T extends Uint8Array | Uint16Array>(
  { info }: Decoded,
  source: T,
  toRgb: (source: T, at: number) => [number, number, number],
): Raster {
  const { width, height, channels } = info;
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) data.set(toRgb(source, i * channels), i * 3);
  return { data, width, height };
}
