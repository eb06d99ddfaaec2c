/** The engine on the real model: the same answers as transformers', alone and in company. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Engine, type EngineOptions, type GenerateRequest, type Message } from "@glimpse/engine";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { convert } from "./convert.ts";
import { NANO, temporary } from "./fixtures.ts";

const SLOTS = 16;

const Part = z.union([
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("image"), file: z.string() }),
]);
const ReferenceCase = z.object({
  name: z.string(),
  thinking: z.boolean().nullable(),
  messages: z.array(
    z.object({
      role: z.enum(["system", "user", "assistant"]),
      content: z.union([z.string(), z.array(Part)]),
    }),
  ),
  greedy_token_ids: z.array(z.number()),
});
type Case = { name: string; request: GenerateRequest; tokens: number[] };
type Answer = { tokens: number[]; cachedTokens: number };

let folder: Awaited<ReturnType<typeof temporary>>;
let model: string;
let cases: Case[];

beforeAll(async () => {
  folder = await temporary();
  model = join(folder.path, "model");
  await convert({ from: NANO, to: model });
  const files = await readdir(join(NANO, "reference"));
  cases = await Promise.all(files.filter((file) => file.endsWith(".json")).map(readCase));
}, 120_000);
afterAll(() => folder[Symbol.asyncDispose]());

async function readCase(file: string): Promise<Case> {
  const text = await readFile(join(NANO, "reference", file), "utf8");
  const { name, thinking, messages, greedy_token_ids } = ReferenceCase.parse(JSON.parse(text));
  const filled = messages.map(async ({ role, content }): Promise<Message> => {
    if (typeof content === "string") return { role, content };
    const parts = content.map(async (part) => {
      if (part.type === "text") return part;
      return { type: "image" as const, image: await readFile(join(NANO, "reference", part.file)) };
    });
    return { role, content: await Promise.all(parts) };
  });
  const request = {
    messages: await Promise.all(filled),
    sampling: { temperature: 0 },
    maxTokens: greedy_token_ids.length,
    ...(thinking !== null && { thinking }),
  };
  return { name, request, tokens: greedy_token_ids };
}

async function answer(engine: Engine, request: GenerateRequest): Promise<Answer> {
  for await (const piece of engine.generate(request))
    if (piece.type === "end")
      return { tokens: piece.outputTokenIds, cachedTokens: piece.usage.cachedTokens };
  throw new Error("no end");
}

async function withEngine(
  options: EngineOptions,
  work: (engine: Engine) => Promise<void>,
): Promise<void> {
  const engine = await Engine.load(model, { slots: SLOTS, ...options });
  try {
    await work(engine);
  } finally {
    await engine.close();
  }
}

const OFF = { featureCacheBytes: 0, prefixCacheBytes: 0 };

/** Names of the cases whose answers are others than wanted. */
function wrong(found: Answer[], wanted: number[][]): string[] {
  const differing = cases.filter((_, i) => String(found[i]!.tokens) !== String(wanted[i]));
  return differing.map(({ name }) => name);
}

describe("the reference cases", () => {
  const alone: Answer[] = [];
  beforeAll(
    () =>
      withEngine({ ...OFF, slots: 1 }, async (engine) => {
        for (const { request } of cases) alone.push(await answer(engine, request));
      }),
    120_000,
  );

  test("are answered as transformers does, one by one", () => {
    expect(cases.length).toBeGreaterThan(30);
    const wanted = cases.map(({ tokens }) => tokens);
    expect(wrong(alone, wanted)).toEqual([]);
  });

  test.each([
    ["whole prompts, no caches", { ...OFF, chunkSteps: Infinity }],
    ["small chunks", { chunkTokens: 17 }],
    ["caches", {}],
  ])("are answered the same all at once: %s", (_what, options) =>
    withEngine(options, async (engine) => {
      const wanted = alone.map(({ tokens }) => tokens);
      for (let round = 0; round < 2; round++) {
        const found = await Promise.all(cases.map(({ request }) => answer(engine, request)));
        expect(wrong(found, wanted)).toEqual([]);
        const cached = found.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0);
        if (round === 1) expect(cached > 1000).toBe(!("prefixCacheBytes" in options));
      }
      expect(engine.stats).toMatchObject({ running: 0, waiting: 0 });
    }),
  );
});

test("a seeded sample is the same whatever the company", () =>
  withEngine({}, async (engine) => {
    const drawn = cases.map(({ request }, seed) => ({
      ...request,
      maxTokens: 24,
      sampling: { temperature: 0.9, topK: 20, topP: 0.9, repetitionPenalty: 1.1, seed },
    }));
    const together = await Promise.all(drawn.map((request) => answer(engine, request)));
    for (const [i, request] of drawn.slice(0, 8).entries())
      expect((await answer(engine, request)).tokens).toEqual(together[i]!.tokens);
  }));
