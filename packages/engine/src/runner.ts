/** The seam between sequences and tensors: whoever holds a Runner knows no pointer, whoever implements it knows no text and no sequence. */
import type { Grid } from "./types.ts";

/** What the rest of the engine needs to know of a converted checkpoint. */
export type ModelShape = {
  hidden: number;
  vocab: number;
  /** Longest sequence, prompt and output together. */
  context: number;
  /** Patches a side that merge into one token. */
  merge: number;
  /** Length of one row of pixel_values: channels * temporal patch * patch * patch. */
  patchDim: number;
};

export type RunnerShape = ModelShape & {
  /** Sequences that fit into the KV cache at once. */
  slots: number;
  /** Positions a slot holds; at most the context. */
  capacity: number;
};

export type Picture = {
  /** pixel_values [patches, patchDim] of this picture. */
  pixels: Float32Array;
  grid: Grid;
};

export type Chunk = {
  /** Token ids, n of them. */
  ids: Int32Array;
  /** M-RoPE positions [3, n], row-major: all t, then all h, then all w. */
  positions: Int32Array;
  /** Picture features: rows of [hidden] that replace the embeddings at these indexes of the chunk, in order. */
  features?: { rows: Float32Array; at: Int32Array };
};

/** The repetition penalty of one row: the tokens seen so far, each once, and transformers' factor. */
export type Penalty = { factor: number; seen: Int32Array };

/** What sampling sees of each row: the k best tokens after the penalty, best first, lower ids first among equals. */
export type Candidates = {
  k: number;
  /** [rows, k] */
  ids: Int32Array;
  /** [rows, k], penalised. */
  logits: Float32Array;
  /** [rows]: over the whole vocabulary, penalised; what makes a logit a log-probability. */
  logSumExp: Float32Array;
};

/** The first positions of a slot's cache, kept outside the slots. */
export interface Snapshot {
  readonly length: number;
  readonly bytes: number;
  release(): void;
}

/**
 * Runs the model; holds no sequence. Which sequence is in which slot, and how long it is, is the caller's to know.
 * One `prefill`, `decode` or `encodeImages` at a time. Results are valid until the next call.
 * A row's numbers never depend on the rows beside it.
 */
export interface Runner {
  readonly shape: RunnerShape;
  /** Features [tokens, hidden] of each picture; pictures of equal grid share a call. */
  encodeImages(pictures: Picture[]): Promise<Float32Array[]>;
  /** Appends a chunk to a slot that holds `past` positions; one row of candidates, for the token after the chunk. */
  prefill(
    slot: number,
    past: number,
    chunk: Chunk,
    k: number,
    penalty?: Penalty,
  ): Promise<Candidates>;
  /**
   * Appends one token to each of the slots 0..n-1, row i to slot i, which holds pasts[i] positions.
   * @param positions [n]: decoded tokens stand at one position on all three axes
   */
  decode(
    ids: Int32Array,
    pasts: Int32Array,
    positions: Int32Array,
    k: number,
    penalties?: (Penalty | undefined)[],
  ): Promise<Candidates>;
  /** Copies the first `length` positions of a slot over those of another. */
  copy(from: number, to: number, length: number): void;
  save(slot: number, length: number): Snapshot;
  /** The first `length` positions of the snapshot into a slot. */
  restore(snapshot: Snapshot, slot: number, length: number): void;
  close(): Promise<void>;
}
