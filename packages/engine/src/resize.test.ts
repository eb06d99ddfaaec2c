import { expect, test } from "vitest";
import { readImageSettings } from "./checkpoint.ts";
import { EngineError } from "./errors.ts";
import { NANO, readFixture } from "./fixtures.ts";
import { resizeBicubic, smartResize } from "./resize.ts";

const settings = await readImageSettings(NANO);

test("smartResize chooses transformers' sizes, and refuses what it refuses", () => {
  type Row = [height: number, width: number, size: [number, number] | null];
  const rows = readFixture<Row>("smart-resize");
  const found = rows.map(([height, width]): Row => {
    try {
      const size = smartResize(height, width, settings);
      return [height, width, [size.height, size.width]];
    } catch (error) {
      if (error instanceof EngineError && error.code === "image_aspect_ratio")
        return [height, width, null];
      throw error;
    }
  });
  expect(rows.length).toBeGreaterThan(100);
  expect(found).toEqual(rows);
});

test("halves go to the even multiple", () => {
  const side = (value: number): number => smartResize(value, 280, settings).height;
  expect([42, 70, 98, 126].map(side)).toEqual([56, 56, 112, 112]); // 1.5, 2.5, 3.5 and 4.5 times 28
});

test("the settings' own bounds and factor count", () => {
  expect(
    smartResize(100, 100, { ...settings, patch: 10, merge: 1, minPixels: 1, maxPixels: 1e9 }),
  ).toEqual({ height: 100, width: 100 });
  expect(smartResize(100, 100, { ...settings, maxPixels: 6272 })).toEqual({
    height: 56,
    width: 56,
  });
});

test("an axis that keeps its size is left as it is", () => {
  const image = {
    data: Uint8Array.from({ length: 4 * 6 * 3 }, (_, i) => (i * 37) % 256),
    width: 6,
    height: 4,
  };
  expect(resizeBicubic(image, 4, 6)).toEqual(image);
  const taller = resizeBicubic(image, 8, 6);
  expect(taller).toMatchObject({ width: 6, height: 8 });
});

test("flat colour stays flat, and edges do not run over", () => {
  const flat = { data: new Uint8Array(30 * 20 * 3).fill(201), width: 30, height: 20 };
  expect(new Set(resizeBicubic(flat, 47, 13).data)).toEqual(new Set([201]));
  const edge = {
    data: Uint8Array.from({ length: 30 * 20 * 3 }, (_, i) =>
      Math.floor(i / 3) % 30 < 15 ? 0 : 255,
    ),
    width: 30,
    height: 20,
  };
  const { data } = resizeBicubic(edge, 20, 60);
  expect([data[0], data[data.length - 1]]).toEqual([0, 255]); // the kernel overshoots; bytes are clamped, not wrapped
});
