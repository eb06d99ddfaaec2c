/** The same answer whatever the company: numbers equal to the last bit, alone and in any batch, whole and in chunks. */
import { join } from "node:path";
import { loadRunner, type Runner, type Snapshot } from "@glimpse/engine";
import { afterAll, beforeAll, expect, it } from "vitest";
import { convert } from "./convert.ts";
import { fixture, logitsOf, temporary } from "./fixtures.ts";

const SLOTS = 16;
const SEED = 20_261_122;
/** Longer than the blocks by which attention goes through a chunk, and one more than a multiple of them. */
const LENGTHS = [1, 2, 5, 97, 33, 64, 129, 40];

let folder: Awaited<ReturnType<typeof temporary>>;
let runner: Runner;

beforeAll(async () => {
  folder = await temporary();
  const dir = join(folder.path, "model");
  await convert({ from: fixture("plain"), to: dir });
  runner = await loadRunner(dir, { threads: 2, slots: SLOTS, capacity: 300 });
});

afterAll(async () => {
  await runner.close();
  await folder[Symbol.asyncDispose]();
});

/** Knuth's multiplicative hash: any number of token ids, the same each time. */
function tokens(seed: number, length: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => {
    const hash = Math.imul(SEED + seed * 1009 + i, 2_654_435_761) >>> 0;
    return hash % runner.shape.vocab;
  });
}

async function read(slot: number, ids: Int32Array, from: number, to: number) {
  const positions = Int32Array.from(
    { length: 3 * (to - from) },
    (_, i) => from + (i % (to - from)),
  );
  const chunk = { ids: ids.slice(from, to), positions };
  return logitsOf(await runner.prefill(slot, from, chunk, runner.shape.vocab));
}

it(`a row's logits are the same alone and among 2 to ${SLOTS} (seed ${SEED})`, async () => {
  const steps = 2;
  const sequences = Array.from({ length: SLOTS }, (_, i) => {
    const length = LENGTHS[i % LENGTHS.length]! + Math.floor(i / LENGTHS.length);
    return { length, ids: tokens(i, length + steps) };
  });
  const saved: Snapshot[] = [];
  for (const { ids, length } of sequences) {
    await read(0, ids, 0, length);
    saved.push(runner.save(0, length));
  }
  /** Logits of each step for sequences in the slots 0, 1, ... */
  const decode = async (indexes: number[]): Promise<Float32Array[][]> => {
    for (const [slot, i] of indexes.entries())
      runner.restore(saved[i]!, slot, sequences[i]!.length);
    const logits: Float32Array[][] = [];
    for (let step = 0; step < steps; step++) {
      const pasts = Int32Array.from(indexes, (i) => sequences[i]!.length + step);
      const ids = Int32Array.from(indexes, (i, row) => sequences[i]!.ids[pasts[row]!]!);
      const candidates = await runner.decode(ids, pasts, pasts, runner.shape.vocab);
      logits.push(indexes.map((_, row) => logitsOf(candidates, row)));
    }
    return logits;
  };
  const alone: Float32Array[][] = [];
  for (const i of sequences.keys()) alone.push((await decode([i])).map(([logits]) => logits!));
  for (let rows = 2; rows <= SLOTS; rows++) {
    const indexes = Array.from({ length: rows }, (_, row) => (5 * row + rows) % SLOTS);
    for (const [step, logits] of (await decode(indexes)).entries()) {
      for (const [row, i] of indexes.entries()) {
        expect(logits[row], `${rows} rows, row ${row}, step ${step}`).toEqual(alone[i]![step]);
      }
    }
  }
});

it(`a prompt's logits are the same whole and in any two chunks (seed ${SEED})`, async () => {
  for (const length of [2, 33, 97, 130, 257]) {
    const ids = tokens(length, length);
    const whole = await read(0, ids, 0, length);
    for (const cut of [1, 2, 31, 32, 33, 64, 65, 128, 129, 256].filter((at) => at < length)) {
      await read(1, ids, 0, cut);
      expect(await read(1, ids, cut, length), `${cut} of ${length}`).toEqual(whole);
    }
  }
});
