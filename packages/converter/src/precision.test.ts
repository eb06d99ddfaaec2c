import { stat } from "node:fs/promises";
import { join } from "node:path";
import { loadRunner, readManifest, WEIGHTS_FILE } from "@glimpse/engine";
import { expect, it } from "vitest";
import { convert, type Dtype } from "./convert.ts";
import {
  caseChunk,
  casePictures,
  concatenate,
  type FixtureName,
  fixture,
  largestDifference,
  logitsOf,
  referenceCases,
  temporary,
} from "./fixtures.ts";

/** How far the logits, of about unit size, may be off, and how much of the fp32 conversion's size the weights may take. */
const BOUNDS: Record<Dtype, { off: number; size: number }> = {
  fp32: { off: 2e-5, size: 1 },
  fp16: { off: 0.01, size: 0.52 },
  int8: { off: 0.3, size: 0.7 },
  int4: { off: 1, size: 0.6 },
};

it.each<[FixtureName, Dtype]>([
  ["plain", "fp16"],
  ["plain", "int8"],
  ["plain", "int4"],
  ["legacy", "fp16"], // heads padded in the cache
  ["legacy", "int8"],
])("a %s checkpoint in %s answers about as in fp32", async (name, dtype) => {
  await using folder = await temporary();
  const sizes: number[] = [];
  for (const kind of ["fp32", dtype] as const) {
    const to = join(folder.path, kind);
    await convert({ from: fixture(name), to, dtype: kind });
    expect(await readManifest(to)).toMatchObject({ dtype: kind });
    sizes.push((await stat(join(to, WEIGHTS_FILE))).size);
  }
  expect(sizes[1]! / sizes[0]!).toBeLessThan(BOUNDS[dtype].size);

  const runner = await loadRunner(join(folder.path, dtype), { threads: 1, slots: 2 });
  const { hidden, vocab } = runner.shape;
  let furthest = 0;
  for (const [seed, example] of (await referenceCases(name)).entries()) {
    const features = concatenate(await runner.encodeImages(casePictures(seed, example, runner)));
    const { length } = example.ids;
    const read = async (slot: number, from: number, to: number) => {
      const chunk = caseChunk(example, features, hidden, from, to);
      return logitsOf(await runner.prefill(slot, from, chunk, vocab));
    };
    const logits = await read(0, 0, length);
    furthest = Math.max(furthest, largestDifference(logits, example.logits));
    runner.copy(0, 1, length - 2);
    expect(largestDifference(await read(1, length - 2, length), logits)).toBeLessThan(0.01);
  }
  expect(furthest).toBeLessThan(BOUNDS[dtype].off);
  expect(furthest).toBeGreaterThan(BOUNDS.fp32.off); // or else the weights are fp32's
  await runner.close();
});
