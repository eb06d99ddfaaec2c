import { execFile } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { temporary } from "./fixtures.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const ASK = fileURLToPath(new URL("ask.ts", import.meta.url));

const Answer = z.strictObject({
  text: z.string(),
  reasoning: z.string(),
  prompt_token_ids: z.array(z.int()),
  image_grids: z.array(z.tuple([z.int(), z.int(), z.int()])),
  pixel_digest: z.string().regex(/^[0-9a-f]{64}$/),
  output_token_ids: z.array(z.int()),
  finish_reason: z.enum(["stop", "length"]),
  usage: z.strictObject({
    prompt_tokens: z.int(),
    image_tokens: z.int(),
    completion_tokens: z.int(),
  }),
  timings: z.strictObject({
    preprocess_ms: z.number(),
    vision_ms: z.number(),
    first_token_ms: z.number(),
    total_ms: z.number(),
  }),
});

// Grey PNGs of 30x60 and 60x30 pixels.
const PICTURES = {
  "portrait.png":
    "iVBORw0KGgoAAAANSUhEUgAAAB4AAAA8CAAAAABUP1VDAAAAHklEQVR4nGOMYsAHmPDKjkqPSo9Kj0qPSo9Kj2BpAEj+ANJKGwriAAAAAElFTkSuQmCC",
  "landscape.png":
    "iVBORw0KGgoAAAANSUhEUgAAADwAAAAeCAAAAABV8yKTAAAAH0lEQVR4nGOMYiAfMFGgd1TzqOZRzaOaRzWPah70mgFgyQCW5MWJVwAAAABJRU5ErkJggg==",
};
const [UPRIGHT, LYING] = [
  [1, 8, 4],
  [1, 4, 8],
];

let folder: Awaited<ReturnType<typeof temporary>>;
const file = (name: string): string => join(folder.path, name);

beforeAll(async () => {
  folder = await temporary();
  for (const [name, data] of Object.entries(PICTURES))
    await writeFile(file(name), Buffer.from(data, "base64"));
});
afterAll(() => folder[Symbol.asyncDispose]());

type Outcome = { status: number; out: string; err: string };

function ask(...args: string[]): Promise<Outcome> {
  const options = { cwd: ROOT, env: { ...process.env, DATA_DIR: folder.path } };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [ASK, ...args], options, (_error, out, err) =>
      resolve({ status: child.exitCode ?? -1, out, err }),
    );
  });
}

async function answer(...args: string[]): Promise<z.infer<typeof Answer>> {
  const { status, out, err } = await ask("--greedy", "--max-tokens", "6", "--json", ...args);
  expect({ status, err }).toEqual({ status: 0, err: "" });
  expect(out.indexOf("\n")).toBe(out.length - 1);
  return Answer.parse(JSON.parse(out));
}

// Each asks a process of its own, which a busy machine is slow to start.
const PATIENCE = { timeout: 180_000 };

describe("pnpm ask", PATIENCE, () => {
  it("answers as text, and in one line of JSON, the same", async () => {
    const found = await answer("--image", file("portrait.png"), "What is it?");
    expect(found.image_grids).toEqual([UPRIGHT]);
    expect(found.usage.image_tokens).toBe(8);
    expect(found.usage.prompt_tokens).toBe(found.prompt_token_ids.length);
    expect(found.usage.completion_tokens).toBe(found.output_token_ids.length);
    const plain = ["--greedy", "--max-tokens", "6", "--image", file("portrait.png"), "What is it?"];
    expect(await ask(...plain)).toEqual({ status: 0, out: `${found.text}\n`, err: "" });
  });

  it("puts pictures before the question, and into messages in order", async () => {
    const images = ["--image", file("landscape.png"), "--image", file("portrait.png")];
    const first = await answer(...images, "Which?");
    expect(first.image_grids).toEqual([LYING, UPRIGHT]);

    const text = { type: "text", text: "Which?" };
    const image = { type: "image" };
    const say = async (name: string, messages: unknown): Promise<string[]> => {
      await writeFile(file(name), JSON.stringify(messages));
      return ["--messages", file(name), ...images];
    };
    const same = await answer(
      ...(await say("same.json", [{ role: "user", content: [image, image, text] }])),
    );
    expect(same.prompt_token_ids).toEqual(first.prompt_token_ids);
    const turns = [
      { role: "system", content: "Be brief." },
      { role: "user", content: [text, image] },
      { role: "assistant", content: "Red." },
      { role: "user", content: [image] },
    ];
    const spread = await answer(...(await say("spread.json", turns)));
    expect(spread.image_grids).toEqual([LYING, UPRIGHT]);
    expect(spread.prompt_token_ids).not.toEqual(first.prompt_token_ids);
  });

  it("passes thinking on only when told", async () => {
    const [unsaid, on, off] = [
      await answer("Why?"),
      await answer("--thinking", "on", "Why?"),
      await answer("--thinking", "off", "Why?"),
    ].map((found) => found.prompt_token_ids);
    expect(unsaid).toEqual(off); // the trained checkpoint's template does not think unless asked
    expect(on).not.toEqual(off);
  });

  it("keeps one conversion of a checkpoint", async () => {
    await answer("Hi");
    expect(await readdir(file("models"))).toEqual([expect.stringMatching(/^nano-[0-9a-f]{16}$/)]);
  });
});

describe("refuses in one line, with a code", PATIENCE, () => {
  it.each([
    ["invalid_prompt", [""]],
    ["invalid_checkpoint", ["--model", "no-such-folder", "Hi"]],
    ["invalid_image", ["--image", "no-such-file.png", "Hi"]],
    ["unsupported_image_media_type", ["--image", ASK, "Hi"]],
    ["invalid_request", ["--messages", ASK]],
    ["context_too_long", ["long ".repeat(12_000)]],
  ])("%s", async (code, args) => {
    const { status, out, err } = await ask(...args);
    expect({ status, out }).toEqual({ status: 1, out: "" });
    expect(err).toMatch(new RegExp(`^${code}: [^\n]+\n$`));
  });

  it.each([
    ["no question", []],
    ["two questions", ["a", "b"]],
    ["an unknown option", ["--loud", "a"]],
    ["a value that is none", ["--thinking", "maybe", "a"]],
    ["no tokens", ["--max-tokens", "0", "a"]],
  ])("%s, with the usage", async (_what, args) => {
    const { status, out, err } = await ask(...args);
    expect({ status, out }).toEqual({ status: 2, out: "" });
    expect(err).toContain("usage: pnpm ask");
  });

  it("pictures and places that do not match, with the usage", async () => {
    await writeFile(file("none.json"), JSON.stringify([{ role: "user", content: "no picture" }]));
    const args = ["--messages", file("none.json"), "--image", file("portrait.png")];
    expect(await ask(...args)).toMatchObject({ status: 2, out: "" });
  });
});
