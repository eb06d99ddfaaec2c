/**
 * Checkpoints in Hugging Face layout with random bfloat16 weights, for what depends on shapes only: memory and time.
 * Tokens, template and settings are models/nano's, so that its requests can be asked.
 */
import { copyFile, mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

/** Keys of config.json that decide shapes. */
export type CheckpointShape = {
  text: {
    hidden_size: number;
    intermediate_size: number;
    num_hidden_layers: number;
    vocab_size: number;
    num_attention_heads: number;
    num_key_value_heads: number;
    mrope_section: number[];
  };
  vision: {
    depth: number;
    hidden_size: number;
    num_heads: number;
    out_hidden_size: number;
    intermediate_size: number;
  };
};

/** GLM-4.6V-Flash: 10.3 thousand million parameters. */
export const FLASH: CheckpointShape = {
  text: {
    hidden_size: 4096,
    intermediate_size: 13696,
    num_hidden_layers: 40,
    vocab_size: 151552,
    num_attention_heads: 32,
    num_key_value_heads: 2,
    mrope_section: [8, 12, 12],
  },
  vision: {
    depth: 24,
    hidden_size: 1536,
    num_heads: 12,
    out_hidden_size: 4096,
    intermediate_size: 13696,
  },
};

/** The same heads, everything else small: for trying things out. */
export const SMALL: CheckpointShape = {
  text: {
    hidden_size: 512,
    intermediate_size: 1024,
    num_hidden_layers: 2,
    vocab_size: 2048,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    mrope_section: [8, 12, 12],
  },
  vision: {
    depth: 2,
    hidden_size: 256,
    num_heads: 2,
    out_hidden_size: 512,
    intermediate_size: 1024,
  },
};

const nano = new URL("../models/nano/", import.meta.url);
const files = [
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "preprocessor_config.json",
  "generation_config.json",
];

/** The same widths with fewer layers. */
export function withDepth(shape: CheckpointShape, layers: number, depth: number): CheckpointShape {
  return {
    text: { ...shape.text, num_hidden_layers: layers },
    vision: { ...shape.vision, depth },
  };
}

/** Makes the folder, two shards of weights in it. Returns their bytes. */
export async function writeCheckpoint(dir: string, shape: CheckpointShape): Promise<number> {
  await mkdir(dir, { recursive: true });
  for (const file of files) await copyFile(new URL(file, nano), join(dir, file));
  await writeFile(join(dir, "config.json"), JSON.stringify(await configOf(shape)));
  const shards = {
    "model-00001.safetensors": textWeights(shape.text),
    "model-00002.safetensors": otherWeights(shape),
  };
  const weightMap: Record<string, string> = {};
  let bytes = 0;
  for (const [file, weights] of Object.entries(shards)) {
    for (const name of Object.keys(weights)) weightMap[name] = file;
    bytes += await writeShard(join(dir, file), weights);
  }
  const index = JSON.stringify({ metadata: { total_size: bytes }, weight_map: weightMap });
  await writeFile(join(dir, "model.safetensors.index.json"), index);
  return bytes;
}

async function configOf({ text, vision }: CheckpointShape) {
  const { mrope_section, ...sizes } = text;
  const tokens = z.looseObject({ text_config: z.looseObject({ eos_token_id: z.unknown() }) });
  const config = tokens.parse(JSON.parse(await readFile(new URL("config.json", nano), "utf8")));
  return {
    ...config,
    text_config: {
      ...sizes,
      model_type: "glm4v_text",
      eos_token_id: config.text_config.eos_token_id,
      max_position_embeddings: 131072,
      rope_parameters: {
        rope_type: "default",
        rope_theta: 500000,
        partial_rotary_factor: 0.5,
        mrope_section,
      },
    },
    vision_config: { ...vision, model_type: "glm4v_vision" },
  };
}

type Weights = Record<string, number[]>;

function textWeights(text: CheckpointShape["text"]): Weights {
  const { hidden_size: hidden, intermediate_size: inner } = text;
  const headDim = hidden / text.num_attention_heads;
  const projections = {
    q_proj: hidden,
    k_proj: text.num_key_value_heads * headDim,
    v_proj: text.num_key_value_heads * headDim,
  };
  const prefix = "model.language_model.";
  const weights: Weights = { [`${prefix}embed_tokens.weight`]: [text.vocab_size, hidden] };
  for (let i = 0; i < text.num_hidden_layers; i++) {
    const layer = `${prefix}layers.${i}.`;
    for (const norm of ["input", "post_self_attn", "post_attention", "post_mlp"])
      weights[`${layer}${norm}_layernorm.weight`] = [hidden];
    for (const [name, rows] of Object.entries(projections)) {
      weights[`${layer}self_attn.${name}.weight`] = [rows, hidden];
      weights[`${layer}self_attn.${name}.bias`] = [rows];
    }
    weights[`${layer}self_attn.o_proj.weight`] = [hidden, hidden];
    weights[`${layer}mlp.gate_up_proj.weight`] = [2 * inner, hidden];
    weights[`${layer}mlp.down_proj.weight`] = [hidden, inner];
  }
  return weights;
}

/** The vision tower, and what comes after the language model's layers. */
function otherWeights({ text, vision }: CheckpointShape): Weights {
  const { hidden_size: hidden, out_hidden_size: out, intermediate_size: inner } = vision;
  const prefix = "model.visual.";
  const weights: Weights = {
    "model.language_model.norm.weight": [text.hidden_size],
    "lm_head.weight": [text.vocab_size, text.hidden_size],
    [`${prefix}patch_embed.proj.weight`]: [hidden, 3, 2, 14, 14],
    [`${prefix}patch_embed.proj.bias`]: [hidden],
    [`${prefix}post_conv_layernorm.weight`]: [hidden],
    [`${prefix}embeddings.position_embedding.weight`]: [576, hidden],
    [`${prefix}post_layernorm.weight`]: [hidden],
    [`${prefix}downsample.weight`]: [out, hidden, 2, 2],
    [`${prefix}downsample.bias`]: [out],
    [`${prefix}merger.proj.weight`]: [out, out],
    [`${prefix}merger.post_projection_norm.weight`]: [out],
    [`${prefix}merger.post_projection_norm.bias`]: [out],
  };
  const mlp = (name: string, width: number, inside: number) => {
    weights[`${name}.gate_proj.weight`] = weights[`${name}.up_proj.weight`] = [inside, width];
    weights[`${name}.down_proj.weight`] = [width, inside];
  };
  mlp(`${prefix}merger`, out, inner);
  for (let i = 0; i < vision.depth; i++) {
    const block = `${prefix}blocks.${i}`;
    weights[`${block}.norm1.weight`] = weights[`${block}.norm2.weight`] = [hidden];
    weights[`${block}.attn.qkv.weight`] = [3 * hidden, hidden];
    weights[`${block}.attn.proj.weight`] = [hidden, hidden];
    mlp(`${block}.mlp`, hidden, out);
  }
  return weights;
}

/** Norms of one, other weights random and of about unit gain; the same megabyte of them over and over. Returns its bytes. */
async function writeShard(path: string, weights: Weights): Promise<number> {
  let end = 0;
  const entries = Object.entries(weights).map(([name, shape]) => {
    const begin = end;
    end += 2 * product(shape);
    return [name, { dtype: "BF16", shape, data_offsets: [begin, end] }] as const;
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const file = await open(path, "w");
  await file.write(Buffer.concat([length, header]));
  for (const [name, shape] of Object.entries(weights)) {
    const scale = product(shape.slice(1)) ** -0.5;
    const isNorm = /norm\d?\.weight$/.test(name);
    const piece = bfloat16(2 ** 19, () => (isNorm ? 1 : scale * noise()));
    for (let left = 2 * product(shape); left > 0; left -= piece.byteLength)
      await file.write(piece, 0, Math.min(left, piece.byteLength));
  }
  await file.close();
  return end;
}

function bfloat16(length: number, value: () => number): Uint16Array {
  const words = new Uint32Array(Float32Array.from({ length }, value).buffer);
  return Uint16Array.from(words, (word) => word >>> 16);
}

/** Of variance 1, about. */
function noise(): number {
  return (Math.random() + Math.random() - 1) * Math.sqrt(6);
}

function product(shape: number[]): number {
  return shape.reduce((size, dim) => size * dim, 1);
}
