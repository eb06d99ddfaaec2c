/**
 * What a converted model folder holds: the names of its files, of its graphs' inputs and outputs, and the manifest.
 * The converter writes by these names and the runner reads by them; neither knows them from elsewhere.
 */
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { EngineError } from "./errors.ts";

export const MANIFEST_FILE = "glimpse.json";
/** The data of every weight; the graphs point into it. */
export const WEIGHTS_FILE = "weights.bin";
export const GRAPH_FILES = {
  vision: "vision.onnx",
  decoder: "decoder.onnx",
  copy: "copy.onnx",
} as const;

/** Pictures of one grid, batched: pixels to features. P patches in merge-block order, T = P / merge^2 tokens. */
export const VISION_IO = {
  pixels: "pixel_values", // [batch, P, patchDim]
  rowWeights: "row_weights", // [grid h, table side]: the position table resampled along h
  columnWeights: "column_weights", // [grid w, table side]: and along w
  cos: "cos", // [P, headDim / 2]
  sin: "sin",
  features: "features", // [batch * T, hidden]
} as const;

/**
 * Token ids to the best candidates for the next ones. tokens = batch * sequence, row-major; rows are the tokens whose
 * successor is wanted. Caches are [batch, kvHeads, capacity, cacheDim], in place: past and present are one buffer.
 */
export const DECODER_IO = {
  ids: "input_ids", // int32 [tokens]
  features: "features", // [replaced, hidden]: picture features instead of the ids' embeddings
  featureIndex: "feature_index", // int32 [replaced]: at which tokens
  cos: "cos", // [tokens, rotary frequencies]
  sin: "sin",
  lastIndex: "seqlens_k", // int32 [batch]: length of each sequence after this call, minus 1
  totalLength: "total_sequence_length", // int32 []: the longest of them
  rows: "rows", // int32 [rows]
  seen: "seen_ids", // int32 [rows, seen]: tokens to penalise; the same one may stand there twice
  penalty: "repetition_penalty", // [rows, 1]
  k: "k", // int64 [1]: how many candidates
  pastKey: (layer: number) => `past_key_${layer}`,
  pastValue: (layer: number) => `past_value_${layer}`,
  presentKey: (layer: number) => `present_key_${layer}`,
  presentValue: (layer: number) => `present_value_${layer}`,
  candidateIds: "candidate_ids", // int32 [rows, k], best first
  candidateLogits: "candidate_logits", // [rows, k], penalised
  logSumExp: "log_sum_exp", // [rows], over the whole vocabulary
} as const;

/** Caches that only graphs reach are copied by one: each source [n] to its target, for every layer, side and head. */
export const COPY_IO = {
  source: (index: number) => `source_${index}`,
  target: (index: number) => `target_${index}`,
} as const;

const size = z.int().positive();

/** Raised when graphs or names change: older conversions are made again. */
export const MANIFEST_FORMAT = 6;

/** fp32 and fp16 say what everything is; int8 and int4 what the language model's matrices are, the vision tower's then being int8 and the rest fp32. */
export const DTYPES = ["fp32", "fp16", "int8", "int4"] as const;

export const Manifest = z.strictObject({
  format: z.literal(MANIFEST_FORMAT),
  dtype: z.enum(DTYPES),
  text: z.strictObject({
    vocab: size,
    hidden: size,
    layers: size,
    kvHeads: size,
    /** Length of a cached key; heads are padded where the attention kernel wants multiples of 8. */
    cacheDim: size,
    context: size,
    rope: z.strictObject({
      theta: z.number().positive(),
      /** Rotated elements of a head; there are ceil(dim / 2) frequencies. */
      dim: size,
      /** Frequencies that follow the t, h and w position, in turn. */
      sections: z.array(z.int().nonnegative()).min(1),
    }),
  }),
  vision: z.strictObject({
    patchDim: size,
    merge: size,
    headDim: size,
    ropeTheta: z.number().positive(),
    /** Sides of the learned position table. */
    tableSide: size,
  }),
});
export type Manifest = z.infer<typeof Manifest>;

/** Throws EngineError `invalid_checkpoint` if the folder is no conversion or a file of it is missing. */
export async function readManifest(dir: string): Promise<Manifest> {
  const refuse = (message: string) => (cause: unknown) => {
    throw new EngineError("invalid_checkpoint", `${dir}: ${message}`, { cause });
  };
  const notConverted = refuse(`not a converted model, no readable ${MANIFEST_FILE}`);
  const text = await readFile(join(dir, MANIFEST_FILE), "utf8").catch(notConverted);
  for (const file of [...Object.values(GRAPH_FILES), WEIGHTS_FILE]) {
    await access(join(dir, file)).catch(refuse(`${file} is missing`));
  }
  try {
    return Manifest.parse(JSON.parse(text));
  } catch (cause) {
    return notConverted(cause);
  }
}
