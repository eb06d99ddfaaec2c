import { join } from "node:path";
import { type Candidates, loadRunner } from "@glimpse/engine";
import { describe, expect, it } from "vitest";
import { convert } from "./convert.ts";
import {
  caseChunk,
  casePictures,
  concatenate,
  fixture,
  type FixtureName,
  greedy,
  largestDifference,
  logitsOf,
  referenceCases,
  temporary,
} from "./fixtures.ts";

const TOLERANCE = 2e-5; // fp32 against fp32, on logits and features of about unit size

describe.each<FixtureName>(["plain", "sharded", "legacy"])("a converted %s checkpoint", (name) => {
  it("answers as transformers does, whole prompts and chunks", async () => {
    await using folder = await temporary();
    const to = join(folder.path, "model");
    await convert({ from: fixture(name), to });
    const runner = await loadRunner(to, { threads: 1, slots: 2 });
    const { hidden, vocab } = runner.shape;
    const examples = await referenceCases(name);
    expect(examples).toHaveLength(4);

    for (const [seed, example] of examples.entries()) {
      const label = `${name}, case ${seed}`;
      const features = concatenate(await runner.encodeImages(casePictures(seed, example, runner)));
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
        let candidates: Candidates | undefined;
        for (const [from, to] of chunks) {
          const chunk = caseChunk(example, features, hidden, from, to);
          candidates = await runner.prefill(0, from, chunk, vocab);
        }
        const difference = largestDifference(logitsOf(candidates!), example.logits);
        expect(difference, label).toBeLessThan(TOLERANCE);
        expect(await greedy(runner, example, candidates!), label).toEqual(example.tokens);
      }
    }
    await runner.close();
  });
});
