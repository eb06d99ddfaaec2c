/** For tests: what transformers made (fixtures/make.py), the small trained checkpoint, and seeded randomness. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createRandom } from "./random.ts";

export const NANO = fileURLToPath(new URL("../../../models/nano", import.meta.url));
export const GPT2_STYLE = fileURLToPath(new URL("../fixtures/gpt2-style", import.meta.url));

/** Rows of a fixture file; T is what fixtures/make.py wrote. */
export function readFixture<T>(name: string): T[] {
  const text = readFileSync(new URL(`../fixtures/${name}.jsonl`, import.meta.url), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as T);
}

export type Dice = {
  /** A whole number from `from` up to but without `to`. */
  int(from: number, to: number): number;
  pick<T>(values: readonly T[]): T;
};

export function createDice(seed: number): Dice {
  const random = createRandom(seed);
  const int = (from: number, to: number): number => from + Math.floor(random() * (to - from));
  return { int, pick: (values) => values[int(0, values.length)]! };
}
