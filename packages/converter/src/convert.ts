/** A Hugging Face glm4v checkpoint to a folder that the engine runs: graphs, weights, manifest, and the small files beside. */
import { copyFile, readdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import {
  EngineError,
  GRAPH_FILES,
  MANIFEST_FILE,
  MANIFEST_FORMAT,
  type Manifest,
  WEIGHTS_FILE,
} from "@glimpse/engine";
import { type Architecture, readArchitecture } from "./config.ts";
import { copyGraph } from "./copy.ts";
import { makeFolder } from "./folder.ts";
import type { Precision } from "./graph.ts";
import { Checkpoint } from "./safetensors.ts";
import { cacheDim, decoderGraph } from "./text.ts";
import { visionGraph } from "./vision.ts";
import { WeightPlan } from "./weights.ts";

export type Dtype = Manifest["dtype"];
export type ConvertOptions = {
  /** The checkpoint's folder. */
  from: string;
  /** The folder to make; an earlier conversion there is replaced. */
  to: string;
  dtype?: Dtype;
  /** Bytes of weights written, of how many. */
  onProgress?: (done: number, total: number) => void;
};

/** What the engine reads besides weights, where a checkpoint has it. */
const SMALL_FILES = [
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "chat_template.json",
];

type Precisions = { vision: Precision; text: Precision };
const FULL: Precision = { float: "float32", matrices: "float32" };
const HALF: Precision = { float: "float16", matrices: "float16" };

const EIGHT_BITS: Precision = { float: "float32", matrices: "int8" };
const FOUR_BITS: Precision = { float: "float32", matrices: "int4" };

/** The vision tower, a tenth of the weights and read once a picture, never gets fewer than 8 bits. */
const PRECISIONS: Record<Dtype, Precisions> = {
  fp32: { vision: FULL, text: FULL },
  fp16: { vision: HALF, text: HALF },
  int8: { vision: EIGHT_BITS, text: EIGHT_BITS },
  int4: { vision: EIGHT_BITS, text: FOUR_BITS },
};

/** On the disk before the folder gets its name. */
const FLUSH = { flush: true };

/** Names of the towers in checkpoints: by transformers 5, without the head model around them, and as before `language_model`. */
const TEXT_PREFIXES = ["model.language_model.", "language_model.", "model."];
const VISION_PREFIXES = ["model.visual.", "visual."];

/**
 * Converts a checkpoint, weights as a stream: memory stays bounded whatever its size.
 * Throws EngineError `invalid_checkpoint` or `unsupported_architecture` before it writes anything, and `engine_failure`
 * when the disk refuses.
 */
export async function convert({
  from,
  to,
  dtype = "fp32",
  onProgress,
}: ConvertOptions): Promise<void> {
  const architecture = await readArchitecture(from);
  const checkpoint = await Checkpoint.open(from);
  try {
    const plan = new WeightPlan(checkpoint);
    const graphs = encodeGraphs(architecture, checkpoint, plan, PRECISIONS[dtype]);
    const settings = JSON.stringify(manifest(architecture, dtype), null, 2);
    await makeFolder(resolve(to), async (draft) => {
      for (const [file, bytes] of graphs) await writeFile(join(draft, file), bytes, FLUSH);
      await plan.write(join(draft, WEIGHTS_FILE), (done) => onProgress?.(done, plan.bytes));
      await copySmallFiles(from, draft);
      await writeFile(join(draft, MANIFEST_FILE), settings, FLUSH);
    });
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError("engine_failure", `${to} could not be written`, { cause });
  } finally {
    await checkpoint.close();
  }
}

function encodeGraphs(
  { text, vision }: Architecture,
  checkpoint: Checkpoint,
  plan: WeightPlan,
  { vision: visionPrecision, text: textPrecision }: Precisions,
): [file: string, bytes: Uint8Array][] {
  const textPrefix = findPrefix(checkpoint, TEXT_PREFIXES, "embed_tokens.weight");
  const visionPrefix = findPrefix(checkpoint, VISION_PREFIXES, "patch_embed.proj.weight");
  return [
    [GRAPH_FILES.vision, visionGraph(vision, visionPrefix, plan.place, visionPrecision)],
    [GRAPH_FILES.decoder, decoderGraph(text, textPrefix, plan.place, textPrecision)],
    [GRAPH_FILES.copy, copyGraph(2 * text.layers * text.kvHeads, textPrecision)],
  ];
}

/** The first spelling under which the checkpoint has the tensor; the first of all, to be reported missing, if none. */
function findPrefix(checkpoint: Checkpoint, prefixes: string[], name: string): string {
  return prefixes.find((prefix) => checkpoint.has(prefix + name)) ?? prefixes[0]!;
}

function manifest({ text, vision }: Architecture, dtype: Dtype): Manifest {
  const { vocab, hidden, layers, kvHeads, context, rope } = text;
  return {
    format: MANIFEST_FORMAT,
    dtype,
    text: { vocab, hidden, layers, kvHeads, cacheDim: cacheDim(text), context, rope },
    vision: {
      patchDim: vision.patch.reduce((product, dim) => product * dim, 1),
      merge: vision.merge,
      headDim: vision.headDim,
      ropeTheta: vision.ropeTheta,
      tableSide: vision.tableSide,
    },
  };
}

async function copySmallFiles(from: string, to: string): Promise<void> {
  const present = await readdir(from);
  for (const file of SMALL_FILES.filter((name) => present.includes(name))) {
    await copyFile(join(from, file), join(to, file));
  }
}
