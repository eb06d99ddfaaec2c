import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readGenerationSettings, readImageSettings } from "./checkpoint.ts";
import { NANO } from "./fixtures.ts";
import { loadProcessor } from "./processor.ts";

const SMALL_FILES = [
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
];
const LIMITS = { maxPixels: 1e6, context: 1e6 };
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "checkpoint-"));
  for (const file of SMALL_FILES) await cp(join(NANO, file), join(dir, file));
});
afterEach(() => rm(dir, { recursive: true }));

async function edit(
  file: string,
  change: (value: Record<string, unknown>) => unknown,
): Promise<void> {
  const value = JSON.parse(await readFile(join(dir, file), "utf8"));
  await writeFile(join(dir, file), JSON.stringify(change(value)));
}

const load = (): Promise<unknown> => loadProcessor(dir, LIMITS);

describe("refuses a broken folder by the file's name", () => {
  test.each([
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
  ])("without %s", async (file) => {
    await rm(join(dir, file));
    await expect(load()).rejects.toMatchObject({
      code: "invalid_checkpoint",
      message: expect.stringContaining(file),
    });
  });

  test.each(SMALL_FILES.filter((file) => file.endsWith(".json")))(
    "with a damaged %s",
    async (file) => {
      await writeFile(join(dir, file), '{"a": ');
      await expect(load()).rejects.toMatchObject({
        code: "invalid_checkpoint",
        message: `${file}: not valid JSON`,
      });
    },
  );

  test("with a field of the wrong kind", async () => {
    await edit("preprocessor_config.json", (value) => ({ ...value, resample: 2 }));
    await expect(load()).rejects.toThrow(
      'preprocessor_config.json: "resample" has the unsupported value 2',
    );
    await edit("config.json", (value) => ({ ...value, image_token_id: undefined }));
    await expect(readGenerationSettings(dir)).rejects.toThrow(
      'config.json: "image_token_id" is missing',
    );
  });

  test("of another architecture", async () => {
    await edit("config.json", (value) => ({ ...value, model_type: "qwen2_vl" }));
    await expect(load()).rejects.toMatchObject({ code: "unsupported_architecture" });
  });
});

test("a folder saved by transformers 5 keeps the image processor in processor_config.json", async () => {
  const image = JSON.parse(await readFile(join(dir, "preprocessor_config.json"), "utf8"));
  await rm(join(dir, "preprocessor_config.json"));
  await writeFile(
    join(dir, "processor_config.json"),
    JSON.stringify({ image_processor: { ...image, merge_size: 4 } }),
  );
  expect(await readImageSettings(dir)).toMatchObject({ merge: 4, patch: 14 });
});

test("the chat template may be in tokenizer_config.json, alone or by name", async () => {
  await rm(join(dir, "chat_template.jinja"));
  await edit("tokenizer_config.json", (value) => ({
    ...value,
    chat_template: "<|user|>{{ messages[0].content }}",
  }));
  const inline = await loadProcessor(dir, LIMITS);
  const one = await inline.process([{ role: "user", content: "hi" }]);
  await edit("tokenizer_config.json", (value) => ({
    ...value,
    chat_template: [
      { name: "tools", template: "x" },
      { name: "default", template: value["chat_template"] },
    ],
  }));
  const named = await loadProcessor(dir, LIMITS);
  expect((await named.process([{ role: "user", content: "hi" }])).ids).toEqual(one.ids);
});

test("sampling defaults are generation_config.json's, as transformers reads them", async () => {
  await edit("generation_config.json", () => ({
    eos_token_id: 7,
    do_sample: true,
    temperature: 0.8,
    top_p: 0.6,
    top_k: 2,
    repetition_penalty: 1.1,
  }));
  expect(await readGenerationSettings(dir)).toMatchObject({
    eosTokenIds: [7],
    sampling: { temperature: 0.8, topP: 0.6, topK: 2, repetitionPenalty: 1.1 },
  });
  await edit("generation_config.json", () => ({ temperature: 0.8 })); // do_sample is off unless set
  expect(await readGenerationSettings(dir)).toMatchObject({
    sampling: { temperature: 0, topP: 1, topK: 50, repetitionPenalty: 1 },
  });
  await rm(join(dir, "generation_config.json"));
  const config = JSON.parse(await readFile(join(dir, "config.json"), "utf8"));
  expect((await readGenerationSettings(dir)).eosTokenIds).toEqual(config.text_config.eos_token_id);
});
