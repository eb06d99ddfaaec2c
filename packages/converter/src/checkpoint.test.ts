import { readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EngineError, MANIFEST_FILE, WEIGHTS_FILE } from "@glimpse/engine";
import { describe, expect, it } from "vitest";
import { convert } from "./convert.ts";
import {
  type ConfigJson,
  copyOf,
  editConfig,
  type FixtureName,
  fixture,
  type RawTensor,
  readSafetensors,
  temporary,
  writeSafetensors,
} from "./fixtures.ts";
import { Checkpoint } from "./safetensors.ts";

const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const SHARD = "model-00002-of-00005.safetensors";

type Break = (dir: string) => Promise<unknown>;

/** Converts a checkpoint broken in one way; resolves to what it is refused with. Nothing may be left beside it. */
async function refusal(
  name: FixtureName,
  breakIt: Break,
): Promise<{ code: string; message: string }> {
  await using folder = await temporary();
  const from = await copyOf(name, folder.path);
  await breakIt(from);
  const error: unknown = await convert({ from, to: join(folder.path, "out") }).then(
    () => new Error("was converted"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof EngineError)) throw error;
  expect(await readdir(folder.path)).toEqual([name]);
  return { code: error.code, message: error.message };
}

const config = (edit: (value: ConfigJson) => void) => (dir: string) => editConfig(dir, edit);
const tensors = (edit: (tensors: Map<string, RawTensor>) => void) => async (dir: string) => {
  const all = await readSafetensors(join(dir, WEIGHTS));
  edit(all);
  await writeSafetensors(join(dir, WEIGHTS), all);
};
const header = (edit: (text: string) => string) => async (dir: string) => {
  const file = await readFile(join(dir, WEIGHTS));
  const end = 8 + Number(file.readBigUInt64LE());
  const text = Buffer.from(edit(file.toString("utf8", 8, end)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeFile(join(dir, WEIGHTS), Buffer.concat([length, text, file.subarray(end)]));
};
const index = (edit: (text: string) => string) => async (dir: string) =>
  writeFile(join(dir, INDEX), edit(await readFile(join(dir, INDEX), "utf8")));

const Q = "model.language_model.layers.1.self_attn.q_proj.weight";
const NORM = "model.visual.blocks.0.norm1.weight";

describe("a broken checkpoint is refused by name", () => {
  it.each<[what: string, name: FixtureName, breakIt: Break, words: string[]]>([
    ["no config", "plain", (dir) => rm(join(dir, "config.json")), ["config.json", "missing"]],
    [
      "a config that is no JSON",
      "plain",
      (dir) => writeFile(join(dir, "config.json"), "{"),
      ["config.json"],
    ],
    [
      "a wrong kind of value",
      "plain",
      config((c) => (c.text_config["hidden_size"] = "64")),
      ["text_config.hidden_size", '"64"'],
    ],
    [
      "no vision tower",
      "plain",
      config((c) => Reflect.deleteProperty(c, "vision_config")),
      ["vision_config"],
    ],
    [
      "widths that do not meet",
      "plain",
      config((c) => (c.vision_config["out_hidden_size"] = 32)),
      ["out_hidden_size", "32", "64"],
    ],
    [
      "rotary sections that do not add up",
      "plain",
      config((c) => (c.text_config["rope_parameters"] = { mrope_section: [1, 1, 1] })),
      ["mrope_section", "3"],
    ],
    ["no weights", "plain", (dir) => rm(join(dir, WEIGHTS)), [WEIGHTS, INDEX]],
    [
      "an empty weights file",
      "plain",
      (dir) => truncate(join(dir, WEIGHTS)),
      [WEIGHTS, "truncated"],
    ],
    [
      "a truncated weights file",
      "plain",
      (dir) => truncate(join(dir, WEIGHTS), 300_000),
      [WEIGHTS, "truncated"],
    ],
    [
      "a header cut short",
      "plain",
      (dir) => truncate(join(dir, WEIGHTS), 100),
      [WEIGHTS, "truncated"],
    ],
    ["a header that is no JSON", "plain", header((text) => text.slice(1)), ["header", WEIGHTS]],
    [
      "a header that lies about a size",
      "plain",
      header((text) => text.replace("[64,64]", "[64,63]")),
      [WEIGHTS, "[64, 63]"],
    ],
    [
      "a header that lies about a place",
      "plain",
      header((text) => text.replace(/"data_offsets":\[\d+,\d+\]/, '"data_offsets":[9,8]')),
      [WEIGHTS],
    ],
    ["a missing tensor", "plain", tensors((all) => all.delete(Q)), [Q, "[64, 64]", "missing"]],
    [
      "a tensor of another shape",
      "plain",
      tensors((all) => (all.get(Q)!.shape = [32, 128])),
      [Q, "[64, 64]", "[32, 128]"],
    ],
    [
      "no text model",
      "plain",
      tensors((all) => all.delete("model.language_model.embed_tokens.weight")),
      ["model.language_model.embed_tokens.weight"],
    ],
    [
      "an untied checkpoint without a head",
      "plain",
      tensors((all) => all.delete("lm_head.weight")),
      ["lm_head.weight"],
    ],
    ["a missing shard", "sharded", (dir) => rm(join(dir, SHARD)), [SHARD, "missing"]],
    [
      "an index that points elsewhere",
      "sharded",
      index((text) => text.replaceAll("00001-of", "00002-of")),
      [INDEX, SHARD],
    ],
    [
      "an index that leads out of the folder",
      "sharded",
      index((text) => text.replaceAll(SHARD, `../${SHARD}`)),
      [INDEX],
    ],
  ])("%s", async (_, name, breakIt, words) => {
    const { code, message } = await refusal(name, breakIt);
    expect(code).toBe("invalid_checkpoint");
    for (const word of words) expect(message).toContain(word);
  });

  it.each<[what: string, breakIt: Break, words: string[]]>([
    [
      "another architecture",
      config((c) => (c["model_type"] = "glm4v_moe")),
      ["model_type", "glm4v_moe", "glm4v"],
    ],
    [
      "another activation",
      config((c) => (c.text_config["hidden_act"] = "gelu")),
      ["text_config.hidden_act", "gelu"],
    ],
    [
      "another activation of the vision tower",
      config((c) => (c.vision_config["hidden_act"] = "relu")),
      ["vision_config.hidden_act", "relu"],
    ],
    [
      "scaled rotary positions",
      config((c) => (c.text_config["rope_scaling"] = { rope_type: "yarn" })),
      ["rope_type", "yarn"],
    ],
    [
      "quantised weights",
      config((c) => (c["quantization_config"] = { bits: 4 })),
      ["quantization_config"],
    ],
    [
      "heads that do not group",
      config((c) => (c.text_config["num_key_value_heads"] = 3)),
      ["num_attention_heads", "3"],
    ],
    [
      "numbers of another kind",
      tensors((all) => (all.get(NORM)!.dtype = "F8_E4M3")),
      [NORM, "F8_E4M3"],
    ],
  ])("%s is unsupported", async (_, breakIt, words) => {
    const { code, message } = await refusal("plain", breakIt);
    expect(code).toBe("unsupported_architecture");
    for (const word of words) expect(message).toContain(word);
  });
});

describe("a checkpoint", () => {
  it("converts alike from shards and from one file", async () => {
    await using folder = await temporary();
    const single = await copyOf("sharded", folder.path);
    const shards = (await readdir(single)).filter((name) => name.startsWith("model-"));
    const all = new Map<string, RawTensor>();
    for (const shard of shards) {
      for (const [name, tensor] of await readSafetensors(join(single, shard)))
        all.set(name, tensor);
      await rm(join(single, shard));
    }
    await rm(join(single, INDEX));
    await writeSafetensors(join(single, WEIGHTS), all);

    const [a, b] = [join(folder.path, "a"), join(folder.path, "b")];
    await convert({ from: fixture("sharded"), to: a });
    await convert({ from: single, to: b });
    for (const file of [WEIGHTS_FILE, MANIFEST_FILE, "vision.onnx", "decoder.onnx"]) {
      expect(await readFile(join(a, file)), file).toEqual(await readFile(join(b, file)));
    }
  });

  it.each([
    [
      "F32",
      [0x3f800000, 0x80000000, 0x7f800000, 0x00000001],
      [1, -0, Infinity, 2 ** -149],
      Uint32Array,
    ],
    [
      "F16",
      [0x3c00, 0x8000, 0xfc00, 0x0001, 0x3555],
      [1, -0, -Infinity, 2 ** -24, 0.333251953125],
      Uint16Array,
    ],
    [
      "BF16",
      [0x3f80, 0x8000, 0xff80, 0x0001, 0x3eab],
      [1, -0, -Infinity, 2 ** -133, 0.333984375],
      Uint16Array,
    ],
  ] as const)("%s tensors are read exactly", async (dtype, bits, values, Bits) => {
    await using folder = await temporary();
    const bytes = new Uint8Array(Bits.from(bits).buffer);
    await writeSafetensors(
      join(folder.path, WEIGHTS),
      new Map([["x", { dtype, shape: [bits.length], bytes }]]),
    );
    const checkpoint = await Checkpoint.open(folder.path);
    const read: number[] = [];
    for await (const piece of checkpoint.read("x")) read.push(...piece);
    await checkpoint.close();
    expect(read).toEqual(values);
  });
});
