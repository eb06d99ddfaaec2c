/** For tests: the tiny checkpoints of fixtures/ (tools/nano/tiny.py made them), copies to break, and their reference outputs. */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Candidates, Chunk, Grid, Picture, Runner } from "@glimpse/engine";

export type FixtureName = "plain" | "sharded" | "legacy";
export type RawTensor = { dtype: string; shape: number[]; bytes: Uint8Array };
type Entry = { dtype: string; shape: number[]; data_offsets: [begin: number, end: number] };
export type Case = {
  grids: Grid[];
  ids: Int32Array;
  positions: Int32Array;
  features: Float32Array;
  logits: Float32Array;
  tokens: number[];
};

export const NANO = fileURLToPath(new URL("../../../models/nano", import.meta.url));

const IMAGE_TOKEN = 301;

export function fixture(name: FixtureName): string {
  return fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
}

/** A folder that is gone after `using`'s scope. */
export async function temporary(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "glimpse-converter-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

/** A copy of a fixture whose files a test may change. */
export async function copyOf(name: FixtureName, dir: string): Promise<string> {
  const copy = join(dir, name);
  await cp(fixture(name), copy, { recursive: true });
  return copy;
}

export type ConfigJson = Record<string, unknown> & {
  text_config: Record<string, unknown>;
  vision_config: Record<string, unknown>;
};

export async function editConfig(dir: string, edit: (config: ConfigJson) => void): Promise<void> {
  const path = join(dir, "config.json");
  const config = JSON.parse(await readFile(path, "utf8")) as ConfigJson;
  edit(config);
  await writeFile(path, JSON.stringify(config));
}

export async function readSafetensors(path: string): Promise<Map<string, RawTensor>> {
  const file = await readFile(path);
  const start = 8 + Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString("utf8", 8, start)) as Record<string, Entry>;
  delete header["__metadata__"];
  return new Map(
    Object.entries(header).map(([name, { dtype, shape, data_offsets }]) => {
      const [begin, end] = data_offsets;
      return [
        name,
        { dtype, shape, bytes: Uint8Array.from(file.subarray(start + begin, start + end)) },
      ];
    }),
  );
}

export async function writeSafetensors(
  path: string,
  tensors: Map<string, RawTensor>,
): Promise<void> {
  let end = 0;
  const entries = [...tensors].map(([name, { dtype, shape, bytes }]) => {
    const begin = end;
    end += bytes.length;
    return [name, { dtype, shape, data_offsets: [begin, end] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  await writeFile(
    path,
    Buffer.concat([length, header, ...[...tensors.values()].map(({ bytes }) => bytes)]),
  );
}

/** What transformers answers to the fixture's prompts. */
export async function referenceCases(name: FixtureName): Promise<Case[]> {
  const tensors = await readSafetensors(join(fixture(name), "reference.safetensors"));
  const ints = (key: string) =>
    new Int32Array(tensors.get(key)?.bytes.buffer ?? new ArrayBuffer(0));
  const floats = (key: string) =>
    new Float32Array(tensors.get(key)?.bytes.buffer ?? new ArrayBuffer(0));
  const count = [...tensors.keys()].filter((key) => key.endsWith(".ids")).length;
  return Array.from({ length: count }, (_, i) => ({
    grids: Array.from({ length: ints(`${i}.grids`).length / 3 }, (_, picture) => {
      const [t, h, w] = ints(`${i}.grids`).subarray(3 * picture);
      return [t!, h!, w!];
    }),
    ids: ints(`${i}.ids`),
    positions: ints(`${i}.positions`),
    features: floats(`${i}.features`),
    logits: floats(`${i}.logits`),
    tokens: [...ints(`${i}.tokens`)],
  }));
}

/** The pictures that tools/nano/tiny.py computes for a case. */
export function casePictures(seed: number, { grids }: Case, { shape }: Runner): Picture[] {
  let at = 0;
  return grids.map((grid) => {
    const size = grid[0] * grid[1] * grid[2] * shape.patchDim;
    const pixels = new Float32Array(size).map(
      (_, k) => (((at + k) * 7919 + seed) % 2003) / 1001 - 1,
    );
    at += size;
    return { grid, pixels };
  });
}

export function concatenate(parts: Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Tokens `from` to `to` of a case's prompt. */
export function caseChunk(
  example: Case,
  rows: Float32Array,
  hidden: number,
  from: number,
  to: number,
): Chunk {
  const { ids, positions } = example;
  const pictured = [...ids.keys()].filter((token) => ids[token] === IMAGE_TOKEN);
  const first = pictured.filter((token) => token < from).length;
  const at = pictured.filter((token) => token >= from && token < to).map((token) => token - from);
  return {
    ids: ids.slice(from, to),
    positions: Int32Array.from(
      [0, 1, 2].flatMap((axis) => [
        ...positions.subarray(axis * ids.length + from, axis * ids.length + to),
      ]),
    ),
    features: {
      rows: rows.slice(first * hidden, (first + at.length) * hidden),
      at: Int32Array.from(at),
    },
  };
}

/** The most likely tokens, one after the other, from the candidates after the prompt on, which is in slot 0. */
export async function greedy(
  runner: Runner,
  example: Case,
  candidates: Candidates,
): Promise<number[]> {
  const tokens = [candidates.ids[0]!];
  const start = Math.max(...example.positions) + 1;
  while (tokens.length < example.tokens.length) {
    const past = example.ids.length + tokens.length - 1;
    const position = start + tokens.length - 1;
    const [id] = (
      await runner.decode(
        Int32Array.of(tokens.at(-1)!),
        Int32Array.of(past),
        Int32Array.of(position),
        1,
      )
    ).ids;
    tokens.push(id!);
  }
  return tokens;
}

/** All logits [vocab] of a row, where k is the vocabulary. */
export function logitsOf({ k, ids, logits }: Candidates, row = 0): Float32Array {
  const all = new Float32Array(k).fill(NaN);
  for (let i = row * k; i < (row + 1) * k; i++) all[ids[i]!] = logits[i]!;
  return all;
}

export function largestDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Infinity;
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
}

export type Dice = {
  /** A whole number from `from` up to but without `to`. */
  int(from: number, to: number): number;
  pick<T>(values: readonly T[]): T;
};

/** Seeded: the linear congruential generator of Numerical Recipes. */
export function createDice(seed: number): Dice {
  let state = seed >>> 0;
  const next = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  const int = (from: number, to: number): number => from + Math.floor(next() * (to - from));
  return { int, pick: (values) => values[int(0, values.length)]! };
}
