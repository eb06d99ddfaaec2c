/**
 * Does a checkpoint of the real model's widths convert in bounded memory, and answer? Makes one (4 + 2 layers, two
 * shards, random bfloat16 weights, 4.5 GB) in a temporary folder, converts it and asks it a question, each in a process
 * of its own, prints their peak resident memory and removes everything. Exits with 1 over the limit.
 * Usage: node bench/convert-memory.ts [--dtype int4] [--dir DIR with 20 GB free] [--json]
 */
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { convert } from "@glimpse/converter";
import { DTYPES, Engine } from "@glimpse/engine";
import { z } from "zod";

const limitMb = 1500;
const nano = new URL("../models/nano/", import.meta.url);
const picture = new URL("heldout/colour-000.png", nano);

const Options = z.object({
  dtype: z.enum(DTYPES).default("int4"),
  dir: z.string().default(tmpdir()),
  json: z.boolean().default(false),
  /** For the processes that this one starts. */
  phase: z.enum(["convert", "ask"]).optional(),
  from: z.string().default(""),
  to: z.string().default(""),
});
const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;
const { values } = parseArgs({
  options: { dtype: text, dir: text, json: flag, phase: text, from: text, to: text },
});
const options = Options.parse(values);

const Outcome = z.object({ peakMb: z.number(), seconds: z.number(), tokens: z.number() });
type Outcome = z.infer<typeof Outcome>;

if (options.phase === undefined) await main();
else console.log(JSON.stringify(await measured(options.phase)));

async function main(): Promise<void> {
  const folder = await mkdtemp(join(options.dir, "glimpse-convert-memory-"));
  try {
    const from = join(folder, "checkpoint");
    const to = join(folder, "converted");
    const gb = await makeCheckpoint(from);
    const converting = await phase("convert", from, to);
    const asking = await phase("ask", from, to);
    if (options.json) console.log(JSON.stringify({ gb, converting, asking, limitMb }));
    else {
      console.log(`${gb.toFixed(1)} GB of bfloat16 to ${options.dtype}`);
      console.table({ converting, asking });
      console.log(`converting is to stay within ${limitMb} MB, and answering from int4`);
    }
    // Other precisions' weights alone are more than the limit, and every token reads all of them.
    const limited = options.dtype === "int4" ? [converting, asking] : [converting];
    if (limited.some(({ peakMb }) => peakMb > limitMb) || asking.tokens === 0) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function phase(name: "convert" | "ask", from: string, to: string): Promise<Outcome> {
  const script = [import.meta.filename, "--phase", name, "--dtype", options.dtype];
  const run = promisify(execFile)(process.execPath, [...script, "--from", from, "--to", to]);
  return Outcome.parse(JSON.parse((await run).stdout));
}

async function measured(name: "convert" | "ask"): Promise<Outcome> {
  const start = performance.now();
  const tokens = name === "convert" ? await convertCheckpoint() : await ask();
  const seconds = (performance.now() - start) / 1000;
  const peakMb = process.resourceUsage().maxRSS / 1024;
  return { peakMb: Math.round(peakMb), seconds: Math.round(seconds), tokens };
}

async function convertCheckpoint(): Promise<number> {
  const { from, to, dtype } = options;
  await convert({ from, to, dtype });
  return 0;
}

/** Output tokens of an answer about a picture. */
async function ask(): Promise<number> {
  const engine = await Engine.load(options.to, { slots: 1, capacity: 512 });
  const content = [
    { type: "image" as const, image: await readFile(picture) },
    { type: "text" as const, text: "What is in the picture?" },
  ];
  let tokens = 0;
  const request = { messages: [{ role: "user" as const, content }], maxTokens: 8 };
  for await (const piece of engine.generate(request)) {
    if (piece.type === "end") tokens = piece.usage.completionTokens;
  }
  await engine.close();
  return tokens;
}

/** Widths of GLM-4.6V-Flash; nano's tokens and files. Returns its gigabytes. */
async function makeCheckpoint(dir: string): Promise<number> {
  await mkdir(dir);
  const files = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
  for (const file of [...files, "preprocessor_config.json", "generation_config.json"])
    await copyFile(new URL(file, nano), join(dir, file));
  const text = {
    hidden_size: 4096,
    intermediate_size: 13696,
    num_hidden_layers: 4,
    vocab_size: 151552,
    num_attention_heads: 32,
    num_key_value_heads: 2,
    max_position_embeddings: 131072,
    rope_parameters: {
      rope_type: "default",
      rope_theta: 500000,
      partial_rotary_factor: 0.5,
      mrope_section: [8, 12, 12],
    },
  };
  const vision = { depth: 2, hidden_size: 1536, out_hidden_size: 4096, intermediate_size: 13696 };
  const tokens = z.looseObject({ text_config: z.looseObject({ eos_token_id: z.unknown() }) });
  const config = tokens.parse(JSON.parse(await readFile(new URL("config.json", nano), "utf8")));
  const eos = { eos_token_id: config.text_config.eos_token_id };
  const settings = { ...config, text_config: { ...text, ...eos }, vision_config: vision };
  await writeFile(join(dir, "config.json"), JSON.stringify(settings));

  const shards = { "model-00001.safetensors": textShapes(), "model-00002.safetensors": rest() };
  const weightMap: Record<string, string> = {};
  let bytes = 0;
  for (const [file, shapes] of Object.entries(shards)) {
    for (const name of Object.keys(shapes)) weightMap[name] = file;
    bytes += await writeShard(join(dir, file), shapes);
  }
  const index = JSON.stringify({ weight_map: weightMap });
  await writeFile(join(dir, "model.safetensors.index.json"), index);
  return bytes / 1e9;
}

type Shapes = Record<string, number[]>;

function textShapes(): Shapes {
  const prefix = "model.language_model.";
  const shapes: Shapes = { [`${prefix}embed_tokens.weight`]: [151552, 4096] };
  for (let i = 0; i < 4; i++) {
    const layer = `${prefix}layers.${i}.`;
    const norms = ["input", "post_self_attn", "post_attention", "post_mlp"];
    for (const norm of norms) shapes[`${layer}${norm}_layernorm.weight`] = [4096];
    for (const [name, rows] of Object.entries({ q_proj: 4096, k_proj: 256, v_proj: 256 })) {
      shapes[`${layer}self_attn.${name}.weight`] = [rows, 4096];
      shapes[`${layer}self_attn.${name}.bias`] = [rows];
    }
    shapes[`${layer}self_attn.o_proj.weight`] = [4096, 4096];
    shapes[`${layer}mlp.gate_up_proj.weight`] = [27392, 4096];
    shapes[`${layer}mlp.down_proj.weight`] = [4096, 13696];
  }
  return shapes;
}

/** The vision tower, and what comes after the language model's layers. */
function rest(): Shapes {
  const prefix = "model.visual.";
  const shapes: Shapes = {
    "model.language_model.norm.weight": [4096],
    "lm_head.weight": [151552, 4096],
    [`${prefix}patch_embed.proj.weight`]: [1536, 3, 2, 14, 14],
    [`${prefix}patch_embed.proj.bias`]: [1536],
    [`${prefix}post_conv_layernorm.weight`]: [1536],
    [`${prefix}embeddings.position_embedding.weight`]: [576, 1536],
    [`${prefix}post_layernorm.weight`]: [1536],
    [`${prefix}downsample.weight`]: [4096, 1536, 2, 2],
    [`${prefix}downsample.bias`]: [4096],
    [`${prefix}merger.proj.weight`]: [4096, 4096],
    [`${prefix}merger.post_projection_norm.weight`]: [4096],
    [`${prefix}merger.post_projection_norm.bias`]: [4096],
  };
  const mlp = (name: string, width: number, inner: number) => {
    shapes[`${name}.gate_proj.weight`] = shapes[`${name}.up_proj.weight`] = [inner, width];
    shapes[`${name}.down_proj.weight`] = [width, inner];
  };
  mlp(`${prefix}merger`, 4096, 13696);
  for (let i = 0; i < 2; i++) {
    const block = `${prefix}blocks.${i}`;
    shapes[`${block}.norm1.weight`] = shapes[`${block}.norm2.weight`] = [1536];
    shapes[`${block}.attn.qkv.weight`] = [4608, 1536];
    shapes[`${block}.attn.proj.weight`] = [1536, 1536];
    mlp(`${block}.mlp`, 1536, 4096);
  }
  return shapes;
}

/** Norms of one, other weights random and of about unit gain; the same megabyte of them over and over. Returns its bytes. */
async function writeShard(path: string, shapes: Shapes): Promise<number> {
  let end = 0;
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const begin = end;
    end += 2 * product(shape);
    return [name, { dtype: "BF16", shape, data_offsets: [begin, end] }] as const;
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const file = await open(path, "w");
  await file.write(Buffer.concat([length, header]));
  for (const [name, shape] of Object.entries(shapes)) {
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
