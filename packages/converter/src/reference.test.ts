import { join } from "node:path";
import { loadRunner } from "@glimpse/engine";
import { describe, expect, it } from "vitest";
import { convert } from "./convert.ts";
import {
  caseChunk,
  casePixels,
  fixture,
  type FixtureName,
  greedy,
  largestDifference,
  referenceCases,
  temporary,
} from "./fixtures.ts";

const TOLERANCE = 2e-5; // fp32 against fp32, on logits and features of about unit size

describe.each<FixtureName>(["plain", "sharded", "legacy"])("a converted %s checkpoint", (name) => {
  it("answers as transformers does, whole prompts and chunks", async () => {
    await using folder = await temporary();
    const to = join(folder.path, "model");
    await convert({ from: fixture(name), to });
    const runner = await loadRunner(to, { threads: 1 });
    const { hidden } = runner.shape;
    const examples = await referenceCases(name);
    expect(examples).toHaveLength(4);

    for (const [seed, example] of examples.entries()) {
      const label = `${name}, case ${seed}`;
      const features = await runner.encodeImages(casePixels(seed, example, runner), example.grids);
      expect(largestDifference(features, example.features), label).toBeLessThan(TOLERANCE);

      const length = example.ids.length;
      const cut = Math.floor(length / 3);
      for (const chunks of [
        [[0, length]],
        [
          [0, 1],
          [1, cut],
          [cut, length],
        ],
      ] as [number, number][][]) {
        const slot = runner.open(length + example.tokens.length);
        let logits: Float32Array = new Float32Array(0);
        for (const [from, to] of chunks) {
          logits = await runner.forward(slot, caseChunk(example, features, hidden, from, to));
        }
        expect(largestDifference(logits, example.logits), label).toBeLessThan(TOLERANCE);
        expect(await greedy(runner, slot, example, logits), label).toEqual(example.tokens);
        slot.release();
      }
    }
    await runner.close();
  });
});
