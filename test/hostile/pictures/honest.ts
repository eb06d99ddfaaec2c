/** Honest pictures of all kinds that are taken; what is nasty is made of them. */
import sharp from "sharp";
import { height, width } from "./nasty.ts";

export type Honest = [name: string, bytes: Buffer];

/** The one of this name. Throws when there is none. */
export function pick(honest: Honest[], name: string): Buffer {
  const found = honest.find(([known]) => known === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found[1];
}

/** Honest pictures of all kinds that are taken. */
export async function honestPictures(): Promise<Honest[]> {
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
  return Promise.all(
    Object.entries(made).map(async ([name, image]): Promise<Honest> => [
      name,
      await image.toBuffer(),
    ]),
  );
}
