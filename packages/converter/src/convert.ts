/** A Hugging Face glm4v checkpoint to a folder that the engine runs: graphs, weights, manifest, and the small files beside. */
import { createHash, randomUUID } from "node:crypto";
import { access, copyFile, mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  EngineError,
  GRAPH_FILES,
  MANIFEST_FILE,
  type Manifest,
  WEIGHTS_FILE,
} from "@glimpse/engine";
import { type Architecture, readArchitecture } from "./config.ts";
import { Checkpoint } from "./safetensors.ts";
import { cacheDim, decoderGraph, embeddingGraph } from "./text.ts";
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

/** Names of the towers in checkpoints: by transformers 5, without the head model around them, and as before `language_model`. */
const TEXT_PREFIXES = ["model.language_model.", "language_model.", "model."];
const VISION_PREFIXES = ["model.visual.", "visual."];

/**
 * Converts a checkpoint. The folder appears whole or not at all: it is made under another name beside its place and
 * renamed, so that a crash leaves none and two conversions at once do not mix.
 * Throws EngineError `invalid_checkpoint` or `unsupported_architecture`, before it writes anything.
 */
export async function convert({
  from,
  to,
  dtype = "fp32",
  onProgress,
}: ConvertOptions): Promise<void> {
  const target = resolve(to);
  await refuseForeignFolder(target);
  const draft = join(dirname(target), `.${basename(target)}.${randomUUID()}`);
  const checkpoint = await Checkpoint.open(from);
  try {
    const architecture = await readArchitecture(from);
    const plan = new WeightPlan(checkpoint);
    const graphs = encodeGraphs(architecture, checkpoint, plan);
    await mkdir(draft, { recursive: true });
    for (const [file, bytes] of graphs) await writeFile(join(draft, file), bytes);
    await plan.write(join(draft, WEIGHTS_FILE), (done) => onProgress?.(done, plan.bytes));
    await copySmallFiles(from, draft);
    await writeFile(
      join(draft, MANIFEST_FILE),
      JSON.stringify(manifest(architecture, dtype), null, 2),
    );
    await publish(draft, target);
  } finally {
    await checkpoint.close();
    await rm(draft, { recursive: true, force: true });
  }
}

/**
 * The folder to load for a checkpoint: itself if it is a conversion already, else one below `cache`, made at first use
 * and again whenever the checkpoint's files change.
 */
export async function ensureConverted({
  from,
  cache,
  ...options
}: Omit<ConvertOptions, "to"> & { cache: string }): Promise<string> {
  if (await isConversion(from)) return from;
  const to = join(cache, await fingerprint(from, options.dtype ?? "fp32"));
  if (!(await isConversion(to))) await convert({ from, to, ...options });
  return to;
}

function encodeGraphs(
  { text, vision }: Architecture,
  checkpoint: Checkpoint,
  plan: WeightPlan,
): [file: string, bytes: Uint8Array][] {
  const textPrefix = findPrefix(checkpoint, TEXT_PREFIXES, "embed_tokens.weight");
  const visionPrefix = findPrefix(checkpoint, VISION_PREFIXES, "patch_embed.proj.weight");
  return [
    [GRAPH_FILES.vision, visionGraph(vision, visionPrefix, plan.place)],
    [GRAPH_FILES.embedding, embeddingGraph(text, textPrefix, plan.place)],
    [GRAPH_FILES.decoder, decoderGraph(text, textPrefix, plan.place)],
  ];
}

/** The first spelling under which the checkpoint has the tensor; the first of all, to be reported missing, if none. */
function findPrefix(checkpoint: Checkpoint, prefixes: string[], name: string): string {
  return prefixes.find((prefix) => checkpoint.has(prefix + name)) ?? prefixes[0]!;
}

function manifest({ text, vision }: Architecture, dtype: Dtype): Manifest {
  const { vocab, hidden, layers, kvHeads, context, rope } = text;
  return {
    format: 1,
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

async function refuseForeignFolder(target: string): Promise<void> {
  const files = await readdir(target).catch(() => []);
  if (files.length > 0 && !(await isConversion(target))) {
    throw new EngineError(
      "invalid_checkpoint",
      `${target} is not empty and no earlier conversion: choose another folder`,
    );
  }
}

/** Puts the finished draft in place of whatever conversion is there. */
async function publish(draft: string, target: string): Promise<void> {
  const old = `${draft}.old`;
  await rename(target, old).catch(() => undefined); // usually there is none
  await rename(draft, target).catch(async (error: unknown) => {
    // Another process finished the same conversion in between: its result is as good.
    if (!(await isConversion(target))) throw error;
  });
  await rm(old, { recursive: true, force: true });
}

async function isConversion(dir: string): Promise<boolean> {
  return access(join(dir, MANIFEST_FILE)).then(
    () => true,
    () => false,
  );
}

/** Changes when a file of the checkpoint does. */
async function fingerprint(dir: string, dtype: Dtype): Promise<string> {
  const hash = createHash("sha256").update(`${resolve(dir)} ${dtype}`);
  const files = await readdir(dir).catch((cause: unknown) => {
    throw new EngineError("invalid_checkpoint", `${dir} is no readable folder`, { cause });
  });
  for (const file of files.toSorted()) {
    const { size, mtimeMs } = await stat(join(dir, file));
    hash.update(`\n${file} ${size} ${mtimeMs}`);
  }
  return `${basename(resolve(dir))}-${hash.digest("hex").slice(0, 16)}`;
}
