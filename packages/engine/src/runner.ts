/** The seam between text and tensors: whoever holds a Runner knows no pointer, whoever implements it knows no text. */
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

/** A sequence's place in the KV cache. `length` is the number of positions written. */
export interface Slot {
  readonly capacity: number;
  readonly length: number;
  release(): void;
}

export type Chunk = {
  /** Token ids, n of them. */
  ids: Int32Array;
  /** M-RoPE positions [3, n], row-major: all t, then all h, then all w. */
  positions: Int32Array;
  /** Picture features: rows of [hidden] that replace the embeddings at these indexes of the chunk, in order. */
  features?: { rows: Float32Array; at: Int32Array };
};

export interface Runner {
  readonly shape: ModelShape;
  /** pixel_values [patches, patchDim] of all pictures in order -> features [tokens, hidden]. */
  encodeImages(pixels: Float32Array, grids: Grid[]): Promise<Float32Array>;
  /** A free slot for `capacity` positions. Throws EngineError `context_too_long` over the context. */
  open(capacity: number): Slot;
  /** Appends the chunk to the slot (prefill, or decode when n = 1); resolves to the logits [vocab] after its last token. */
  forward(slot: Slot, chunk: Chunk): Promise<Float32Array>;
  close(): Promise<void>;
}
