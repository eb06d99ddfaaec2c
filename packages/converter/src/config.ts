/**
 * A glm4v config.json, parsed and checked. Defaults are those of transformers' Glm4vConfig classes, since checkpoints
 * leave out what equals them; both spellings of the rope settings are read (transformers 5's `rope_parameters` and the
 * older `rope_theta`, `rope_scaling`, `partial_rotary_factor`). What the graphs cannot compute is refused by name.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { EngineError, type Manifest } from "@glimpse/engine";
import { z } from "zod";

export type TextArchitecture = {
  vocab: number;
  hidden: number;
  intermediate: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  eps: number;
  context: number;
  /** The output head is the embedding table. */
  tied: boolean;
  rope: Manifest["text"]["rope"];
};

export type VisionArchitecture = {
  depth: number;
  hidden: number;
  heads: number;
  headDim: number;
  eps: number;
  /** channels, frames, rows and columns of a patch. */
  patch: readonly [number, number, number, number];
  merge: number;
  outHidden: number;
  /** Width of the merger's MLP; a block's is outHidden. */
  intermediate: number;
  attentionBias: boolean;
  tableSide: number;
  ropeTheta: number;
};

export type Architecture = { text: TextArchitecture; vision: VisionArchitecture };

const CONFIG_FILE = "config.json";
const size = z.int().positive();
const positive = z.number().positive();

/** null and absent both mean the default. */
function or<T extends z.ZodType>(schema: T, value: z.output<T>) {
  return schema.nullish().transform((given) => given ?? value);
}

const Rope = z.object({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: positive.optional(),
  partial_rotary_factor: positive.max(1).optional(),
  mrope_section: z.array(z.int().nonnegative()).optional(),
});

const RopeSettings = z.object({
  rope_parameters: Rope.nullish(),
  rope_scaling: Rope.nullish(),
  rope_theta: positive.nullish(),
  partial_rotary_factor: positive.max(1).nullish(),
});

const Text = RopeSettings.extend({
  model_type: or(z.string(), "glm4v_text"),
  vocab_size: or(size, 151552),
  hidden_size: or(size, 4096),
  intermediate_size: or(size, 13696),
  num_hidden_layers: or(size, 40),
  num_attention_heads: or(size, 32),
  num_key_value_heads: size.nullable().default(2), // null: as many as heads
  head_dim: size.nullish(),
  hidden_act: or(z.string(), "silu"),
  max_position_embeddings: or(size, 32768),
  rms_norm_eps: or(positive, 1e-5),
  tie_word_embeddings: z.boolean().nullish(),
});

const Vision = RopeSettings.extend({
  depth: or(size, 24),
  hidden_size: or(size, 1536),
  hidden_act: or(z.string(), "silu"),
  attention_bias: or(z.boolean(), false),
  num_heads: or(size, 12),
  in_channels: or(size, 3),
  image_size: or(size, 336),
  patch_size: or(size, 14),
  rms_norm_eps: or(positive, 1e-5),
  spatial_merge_size: or(size, 2),
  temporal_patch_size: or(size, 2),
  out_hidden_size: or(size, 4096),
  intermediate_size: or(size, 13696),
});

const Config = z.object({
  model_type: z.string(),
  text_config: z.looseObject({}).nullish(),
  vision_config: z.looseObject({}),
  tie_word_embeddings: z.boolean().nullish(),
  quantization_config: z.unknown().optional(),
});

/** Reads and checks DIR/config.json. Throws EngineError `invalid_checkpoint` or `unsupported_architecture`, naming the key. */
export async function readArchitecture(dir: string): Promise<Architecture> {
  const root = await readJson(join(dir, CONFIG_FILE));
  const config = check(Config, root, "");
  support("model_type", config.model_type, ["glm4v"]);
  if (config.quantization_config != null) {
    throw unsupported("quantization_config", "quantized checkpoints cannot be read");
  }
  // The first glm4v configurations had the text model's keys at the top.
  const text = check(Text, config.text_config ?? root, config.text_config ? "text_config." : "");
  const vision = check(Vision, config.vision_config, "vision_config.");
  const architecture = {
    text: textArchitecture(
      text,
      config.tie_word_embeddings === true || text.tie_word_embeddings === true,
    ),
    vision: visionArchitecture(vision),
  };
  agree(
    "vision_config.out_hidden_size",
    vision.out_hidden_size,
    "text_config.hidden_size",
    text.hidden_size,
  );
  return architecture;
}

function textArchitecture(config: z.infer<typeof Text>, tied: boolean): TextArchitecture {
  support("text_config.hidden_act", config.hidden_act, ["silu", "swish"]);
  const heads = config.num_attention_heads;
  const kvHeads = config.num_key_value_heads ?? heads;
  divide("text_config.num_attention_heads", heads, "num_key_value_heads", kvHeads);
  const headDim = Math.floor(config.hidden_size / heads);
  const { type, theta, partial, sections = [8, 12, 12] } = ropeSettings(config);
  support("text_config.rope_parameters.rope_type", type, ["default"]);
  // As in transformers, an explicit head_dim decides what is rotated; attention itself goes by hidden_size / heads.
  const dim = Math.trunc((config.head_dim ?? headDim) * partial);
  const frequencies = Math.ceil(dim / 2);
  if (dim < 1 || 2 * frequencies > headDim) {
    throw unsupported("text_config.head_dim", `${dim} rotated elements of heads of ${headDim}`);
  }
  agree(
    "the sum of mrope_section",
    sections.reduce((sum, n) => sum + n, 0),
    "half the rotary dimension",
    frequencies,
  );
  return {
    vocab: config.vocab_size,
    hidden: config.hidden_size,
    intermediate: config.intermediate_size,
    layers: config.num_hidden_layers,
    heads,
    kvHeads,
    headDim,
    eps: config.rms_norm_eps,
    context: config.max_position_embeddings,
    tied,
    rope: { theta, dim, sections },
  };
}

function visionArchitecture(config: z.infer<typeof Vision>): VisionArchitecture {
  support("vision_config.hidden_act", config.hidden_act, ["silu", "swish"]);
  divide("vision_config.hidden_size", config.hidden_size, "4 * num_heads", 4 * config.num_heads);
  const { type, theta } = ropeSettings(config);
  support("vision_config.rope_parameters.rope_type", type, ["default", "axial"]);
  return {
    depth: config.depth,
    hidden: config.hidden_size,
    heads: config.num_heads,
    headDim: config.hidden_size / config.num_heads,
    eps: config.rms_norm_eps,
    patch: [config.in_channels, config.temporal_patch_size, config.patch_size, config.patch_size],
    merge: config.spatial_merge_size,
    outHidden: config.out_hidden_size,
    intermediate: config.intermediate_size,
    attentionBias: config.attention_bias,
    tableSide: Math.floor(config.image_size / config.patch_size),
    ropeTheta: theta,
  };
}

function ropeSettings(config: z.infer<typeof RopeSettings>) {
  const given = config.rope_scaling ?? config.rope_parameters ?? {};
  return {
    type: given.rope_type ?? given.type ?? "default",
    theta: given.rope_theta ?? config.rope_theta ?? 10_000,
    partial: given.partial_rotary_factor ?? config.partial_rotary_factor ?? 1,
    sections: given.mrope_section,
  };
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new EngineError("invalid_checkpoint", `${path} is missing or unreadable`, {
      cause,
    });
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new EngineError("invalid_checkpoint", `${path} is not JSON`, { cause });
  }
}

function check<T extends z.ZodType>(schema: T, value: unknown, prefix: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const path = result.error.issues[0]?.path ?? [];
  const found = path.reduce<unknown>(
    (node, key) => (node as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
  throw new EngineError(
    "invalid_checkpoint",
    `${CONFIG_FILE}: ${prefix}${path.join(".")} is missing or malformed: found ${JSON.stringify(found)}`,
  );
}

function support(key: string, value: string, supported: string[]): void {
  if (!supported.includes(value))
    throw unsupported(key, `"${value}"; supported: ${supported.join(", ")}`);
}

function divide(key: string, value: number, byKey: string, by: number): void {
  if (value % by !== 0) throw unsupported(key, `${value} is no multiple of ${byKey} (${by})`);
}

function agree(key: string, value: number, otherKey: string, other: number): void {
  if (value !== other) {
    throw new EngineError(
      "invalid_checkpoint",
      `${CONFIG_FILE}: ${key} (${value}) should equal ${otherKey} (${other})`,
    );
  }
}

function unsupported(key: string, what: string): EngineError {
  return new EngineError("unsupported_architecture", `${CONFIG_FILE}: ${key}: ${what}`);
}
