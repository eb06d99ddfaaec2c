/** The small files of a Hugging Face checkpoint, parsed. Knows file names and defaults; not weights, tensors or tokens. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { EngineError } from "./errors.ts";
import type { Sampling } from "./types.ts";

/** One picture's way to patches; names and meanings are those of transformers' Glm46VImageProcessor. */
export type ImageSettings = {
  patch: number;
  temporalPatch: number;
  merge: number;
  /** Bounds on temporalPatch * height * width after resizing. */
  minPixels: number;
  maxPixels: number;
  rescale: number;
  mean: [number, number, number];
  std: [number, number, number];
};

export type GenerationSettings = {
  imageTokenId: number;
  eosTokenIds: number[];
  sampling: Omit<Sampling, "seed">;
};

export type ChatSettings = {
  template: string;
  /** bos_token, eos_token, ... as the template may name them. */
  specialTokens: Record<string, string>;
};

const channels = z.tuple([z.number(), z.number(), z.number()]);
const CLIP_MEAN: [number, number, number] = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: [number, number, number] = [0.26862954, 0.26130258, 0.27577711];
const BICUBIC = 3;

/** Defaults are those of Glm46VImageProcessor; literals are what this engine computes and nothing else. */
const ImageProcessor = z.looseObject({
  image_processor_type: z
    .enum([
      "Glm46VImageProcessor",
      "Glm46VImageProcessorFast",
      "Glm4vImageProcessor",
      "Glm4vImageProcessorFast",
    ])
    .optional(),
  do_convert_rgb: z.literal(true).default(true),
  do_resize: z.literal(true).default(true),
  do_rescale: z.literal(true).default(true),
  do_normalize: z.literal(true).default(true),
  resample: z.literal(BICUBIC).default(BICUBIC),
  rescale_factor: z
    .number()
    .positive()
    .default(1 / 255),
  size: z
    .looseObject({ shortest_edge: z.int().positive(), longest_edge: z.int().positive() })
    .default({ shortest_edge: 112 * 112, longest_edge: 28 * 28 * 15000 }),
  patch_size: z.int().positive().default(14),
  temporal_patch_size: z.int().positive().default(2),
  merge_size: z.int().positive().default(2),
  image_mean: channels.default(CLIP_MEAN),
  image_std: channels.default(CLIP_STD),
});

const Eos = z.union([z.int(), z.array(z.int())]).nullish();

const Config = z.looseObject({
  model_type: z.string(),
  image_token_id: z.int().nonnegative(),
  eos_token_id: Eos,
  text_config: z.looseObject({ eos_token_id: Eos }),
});

const GenerationConfig = z.looseObject({
  eos_token_id: Eos,
  do_sample: z.boolean().nullish(),
  temperature: z.number().nonnegative().nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().nonnegative().nullish(),
  repetition_penalty: z.number().positive().nullish(),
});

const TokenText = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const NamedTemplates = z.array(z.looseObject({ name: z.string(), template: z.string() }));

const TokenizerConfig = z.looseObject({
  bos_token: TokenText,
  eos_token: TokenText,
  unk_token: TokenText,
  pad_token: TokenText,
  chat_template: z.union([z.string(), NamedTemplates]).nullish(),
});

/** Reads and parses one JSON file. Throws `invalid_checkpoint` that names the file and the field. */
export async function readJson<T extends z.ZodType>(
  dir: string,
  name: string,
  schema: T,
): Promise<z.output<T>> {
  const value = await readOptionalJson(dir, name, schema);
  if (value === undefined) throw new EngineError("invalid_checkpoint", `${name}: missing`);
  return value;
}

/** As readJson, but undefined where there is no such file. */
async function readOptionalJson<T extends z.ZodType>(
  dir: string,
  name: string,
  schema: T,
): Promise<z.output<T> | undefined> {
  const text = await readText(dir, name);
  return text === undefined ? undefined : parseJson(name, text, schema);
}

/** Throws `unsupported_architecture` for another model, `invalid_checkpoint` for a file missing or malformed. */
export async function readGenerationSettings(dir: string): Promise<GenerationSettings> {
  const config = await readJson(dir, "config.json", Config);
  if (config.model_type !== "glm4v")
    throw new EngineError(
      "unsupported_architecture",
      `config.json: model_type "${config.model_type}" is not glm4v`,
    );
  // Without the file transformers generates from the model's own eos and its general defaults; so do we.
  const generation =
    (await readOptionalJson(dir, "generation_config.json", GenerationConfig)) ?? {};
  const eos =
    generation.eos_token_id ?? config.text_config.eos_token_id ?? config.eos_token_id ?? [];
  return {
    imageTokenId: config.image_token_id,
    eosTokenIds: typeof eos === "number" ? [eos] : eos,
    sampling: {
      temperature: generation.do_sample === true ? (generation.temperature ?? 1) : 0,
      topP: generation.top_p ?? 1,
      topK: generation.top_k ?? 50,
      repetitionPenalty: generation.repetition_penalty ?? 1,
    },
  };
}

/** From processor_config.json (transformers 5) or preprocessor_config.json (before), in transformers' order. */
export async function readImageSettings(dir: string): Promise<ImageSettings> {
  const both = z.looseObject({ image_processor: ImageProcessor.optional() });
  const processor = await readOptionalJson(dir, "processor_config.json", both);
  const image =
    processor?.image_processor ?? (await readJson(dir, "preprocessor_config.json", ImageProcessor));
  return {
    patch: image.patch_size,
    temporalPatch: image.temporal_patch_size,
    merge: image.merge_size,
    minPixels: image.size.shortest_edge,
    maxPixels: image.size.longest_edge,
    rescale: image.rescale_factor,
    mean: image.image_mean,
    std: image.image_std,
  };
}

/** The chat template from chat_template.jinja, or from tokenizer_config.json. */
export async function readChatSettings(dir: string): Promise<ChatSettings> {
  const config = await readJson(dir, "tokenizer_config.json", TokenizerConfig);
  const inline = config.chat_template;
  const template =
    (await readText(dir, "chat_template.jinja")) ??
    (Array.isArray(inline) ? inline.find((entry) => entry.name === "default")?.template : inline);
  if (template === undefined || template === null)
    throw new EngineError("invalid_checkpoint", "chat_template.jinja: missing");
  const specialTokens: Record<string, string> = {};
  for (const name of ["bos_token", "eos_token", "unk_token", "pad_token"] as const) {
    const token = config[name];
    if (token) specialTokens[name] = typeof token === "string" ? token : token.content;
  }
  return { template, specialTokens };
}

async function readText(dir: string, name: string): Promise<string | undefined> {
  try {
    return await readFile(join(dir, name), "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new EngineError("invalid_checkpoint", `${name}: cannot be read`, { cause });
  }
}

function parseJson<T extends z.ZodType>(name: string, text: string, schema: T): z.output<T> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new EngineError("invalid_checkpoint", `${name}: not valid JSON`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const path = parsed.error.issues[0]?.path ?? [];
  const found = path.reduce<unknown>(
    (at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
  const state = found === undefined ? "is missing" : `has the unsupported value ${brief(found)}`;
  throw new EngineError("invalid_checkpoint", `${name}: "${path.join(".")}" ${state}`, {
    cause: parsed.error,
  });
}

function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
