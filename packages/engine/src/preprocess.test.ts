import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { readImageSettings } from "./checkpoint.ts";
import { decodeImage } from "./decode-image.ts";
import { createDice, NANO, readFixture } from "./fixtures.ts";
import { preprocess } from "./preprocess.ts";
import type { Grid } from "./types.ts";

const settings = await readImageSettings(NANO);
const MAX_PIXELS = 40_000_000;
const LIMITS = { maxPixels: MAX_PIXELS, context: 1e6 };

type Picture = {
  name: string;
  width: number;
  height: number;
  rgb: string;
  grid: Grid;
  digest: string;
  data: string;
};
const pictures = readFixture<Picture>("images").map((row) => ({
  ...row,
  bytes: Buffer.from(row.data, "base64"),
}));
const picture = (name: string): Buffer => pictures.find((row) => row.name === name)!.bytes;

test.each(pictures)(
  "$name: the pixels that PIL decodes and transformers' pixel_values",
  async (row) => {
    const image = await decodeImage(row.bytes, LIMITS);
    expect([image.width, image.height]).toEqual([row.width, row.height]);
    expect(createHash("sha256").update(image.data).digest("hex")).toBe(row.rgb);
    const { grids, digest } = await preprocess([row.bytes], settings, LIMITS);
    expect({ grids, digest }).toEqual({ grids: [row.grid], digest: row.digest });
  },
);

type Size = { height: number; width: number; grid: Grid; digest: string };
test.each(readFixture<Size>("sizes"))(
  "$height x $width: transformers' pixel_values",
  async ({ height, width, grid, digest }) => {
    const data = new Uint8Array(height * width * 3);
    for (let y = 0, i = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < 3; c++, i++)
          data[i] = (x * x * (c + 1) + 7 * x * y + 31 * y * (3 - c)) >> 2;
    const png = await sharp(data, { raw: { width, height, channels: 3 } })
      .png({ compressionLevel: 1 })
      .toBuffer();
    expect(await preprocess([png], settings, LIMITS)).toMatchObject({ grids: [grid], digest });
  },
);

test("several pictures follow each other; none is the digest of nothing", async () => {
  const files = [picture("rgb.png"), picture("420.jpg")];
  const both = await preprocess(files, settings, LIMITS);
  const [first, second] = await Promise.all(
    files.map((file) => preprocess([file], settings, LIMITS)),
  );
  expect(both.grids).toEqual([...first!.grids, ...second!.grids]);
  expect(both.pixels).toEqual(Float32Array.from([...first!.pixels, ...second!.pixels]));
  expect(both.pixels.length).toBe(
    both.grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0) * 3 * 2 * 14 * 14,
  );
  expect(await preprocess([], settings, LIMITS)).toEqual({
    pixels: new Float32Array(0),
    grids: [],
    digest: createHash("sha256").digest("hex"),
    digests: [],
  });
  expect(both.digests).toEqual([first!.digest, second!.digest]);
});

test("pictures that alone are too many for the context are refused early", async () => {
  const files = Array.from({ length: 4 }, () => picture("rgb.png")); // 12 tokens each
  const limit = (context: number) => preprocess(files, settings, { ...LIMITS, context });
  expect((await limit(48)).grids).toHaveLength(4);
  await expect(limit(47)).rejects.toMatchObject({ code: "context_too_long" });
});

describe("bad pictures", () => {
  const refusal = async (bytes: Uint8Array, maxPixels = MAX_PIXELS): Promise<string> =>
    preprocess([bytes], settings, { ...LIMITS, maxPixels }).then(
      () => "accepted",
      (error: { code: string }) => error.code,
    );
  const blank = (width: number, height: number, format: "png" | "webp" = "png"): Promise<Buffer> =>
    sharp({ create: { width, height, channels: 3, background: "red" } })
      .toFormat(format)
      .toBuffer();

  test.each([
    "lossless.webp",
    "progressive.jpg",
    "444.jpg",
    "rgb.png",
    "cmyk.jpg",
    "grey-16-bit.png",
    "lossy.webp",
  ])("%s cut short anywhere", async (name) => {
    const bytes = picture(name);
    for (let part = 1; part < 16; part++) {
      const code = await refusal(bytes.subarray(0, Math.floor((bytes.length * part) / 16)));
      expect(["invalid_image", "unsupported_image_media_type"], `${part}/16`).toContain(code);
    }
  });

  test("bits flipped anywhere: decoded or refused, nothing else", async () => {
    const seed = 41;
    const dice = createDice(seed);
    const codes = new Set<string>();
    for (let round = 0; round < 300; round++) {
      const bytes = Buffer.from(dice.pick(pictures).bytes);
      for (let n = dice.int(1, 6); n > 0; n--)
        bytes[dice.int(0, bytes.length)]! ^= 1 << dice.int(0, 8);
      codes.add(await refusal(bytes, 1_000_000));
    }
    const known = [
      "accepted",
      "invalid_image",
      "unsupported_image_media_type",
      "image_too_small",
      "image_too_large",
      "image_aspect_ratio",
    ];
    expect(known, `seed ${seed}`).toEqual(expect.arrayContaining([...codes]));
  });

  test("other formats, whatever they hold", async () => {
    const gif = await sharp(picture("rgb.png")).gif().toBuffer();
    const tiff = await sharp(picture("rgb.png")).tiff().toBuffer();
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>');
    const riff = Buffer.from("RIFF\x04\0\0\0WAVEfmt ", "latin1");
    for (const bytes of [
      gif,
      tiff,
      svg,
      riff,
      Buffer.from("%PDF-1.7"),
      Buffer.from([0]),
      picture("rgb.png").subarray(1),
    ])
      expect(await refusal(bytes)).toBe("unsupported_image_media_type");
    expect(await refusal(new Uint8Array(0))).toBe("invalid_image");
    const disguised = Buffer.concat([picture("rgb.png").subarray(0, 8), svg]);
    expect(await refusal(disguised)).toBe("invalid_image");
  });

  test("too small, too large, too long: by the header", async () => {
    expect(await refusal(await blank(7, 100))).toBe("image_too_small");
    expect(await refusal(await blank(1, 5000))).toBe("image_too_small");
    expect(await refusal(await blank(8, 8))).toBe("accepted");
    expect(await refusal(await blank(100, 101), 10_000)).toBe("image_too_large");
    expect(await refusal(await blank(100, 100), 10_000)).toBe("accepted");
    expect(await refusal(await blank(8, 1601, "webp"))).toBe("image_aspect_ratio");
    expect(await refusal(await blank(8, 1600, "webp"))).toBe("accepted");
    const bomb = Buffer.from(picture("rgb.png"));
    bomb.writeUInt32BE(16_383, 16);
    bomb.writeUInt32BE(16_383, 20);
    bomb.writeUInt32BE(crc32(bomb.subarray(12, 29)), 29);
    expect(await refusal(bomb)).toBe("image_too_large"); // decoding it would end in invalid_image
  });

  test("the message says which, and the limit", async () => {
    const files = [picture("rgb.png"), await blank(5, 9)];
    await expect(preprocess(files, settings, LIMITS)).rejects.toThrow(
      "picture 2 is 5x9 pixels; a side has at least 8",
    );
  });
});
