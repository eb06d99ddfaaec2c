/** What all measurements share: settings, one request of a given length, medians of variants that take turns. */
import type { Engine, Piece } from "@glimpse/engine";

export type Settings = {
  quick: boolean;
  /** Converted folder. */
  dir: string;
  runs: number;
};

const PROMPT = "What is in the picture?";
/** Nothing but the best token; the answer goes on for as long as the request says. */
const GREEDY = { temperature: 0, repetitionPenalty: 1 };

type End = Extract<Piece, { type: "end" }>;

/**
 * One answer of exactly `tokens` tokens.
 * @param onText called for each piece of text, as it comes
 */
export async function answer(
  engine: Engine,
  tokens: number,
  content = PROMPT,
  onText?: () => void,
): Promise<End> {
  const length = { minTokens: tokens, maxTokens: tokens };
  const messages = [{ role: "user" as const, content }];
  let end: End | undefined;
  for await (const piece of engine.generate({ messages, sampling: GREEDY, ...length })) {
    if (piece.type === "end") end = piece;
    else if (piece.type !== "prompt") onText?.();
  }
  if (end?.usage.completionTokens !== tokens)
    throw new Error(`asked for ${tokens} tokens, got ${end?.usage.completionTokens ?? 0}`);
  return end;
}

/** A prompt's token ids, as the engine reads it. */
export async function promptIds(engine: Engine, content = PROMPT): Promise<Int32Array> {
  const messages = [{ role: "user" as const, content }];
  for await (const piece of engine.generate({ messages, maxTokens: 1 }))
    if (piece.type === "prompt") return Int32Array.from(piece.promptTokenIds);
  throw new Error("no prompt came");
}

/** Medians of `runs` measurements each; the variants take turns, after one round to warm up. */
export async function interleave<Name extends string>(
  variants: Record<Name, () => Promise<number>>,
  runs: number,
): Promise<Record<Name, number>> {
  const names = Object.keys(variants) as Name[];
  const values = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let run = -1; run < runs; run++) {
    for (const name of names) {
      const value = await variants[name]();
      if (run >= 0) values.get(name)!.push(value);
    }
  }
  const entries = names.map((name) => [name, median(values.get(name)!)]);
  return Object.fromEntries(entries) as Record<Name, number>;
}

export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1_000;
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

export function round(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}
