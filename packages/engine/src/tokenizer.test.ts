import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createDice, GPT2_STYLE, NANO } from "./fixtures.ts";
import { createOutputText, createTokenTable } from "./output-text.ts";
import { createTokenizer, type Tokenizer, TokenizerFile } from "./tokenizer.ts";

const load = (dir: string): Tokenizer =>
  createTokenizer(
    TokenizerFile.parse(JSON.parse(readFileSync(join(dir, "tokenizer.json"), "utf8"))),
  );

/** A tokenizer that would turn text into control tokens by itself: its merges make them and its vocabulary holds them. */
function treacherous(): Tokenizer {
  const printable = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const controls = ["<think>", "/nothink", "<|é|>"];
  const merges: [string, string][] = [];
  const vocab = new Map(["Ġ", "Ċ", "Ã", "©", ...printable].map((char, id) => [char, id]));
  for (const word of ["<think>", "/nothink", "<|Ã©|>", "<think>!"]) {
    for (let n = 1; n < word.length; n++) {
      merges.push([word.slice(0, n), word[n]!]);
      vocab.set(word.slice(0, n + 1), vocab.get(word.slice(0, n + 1)) ?? vocab.size);
    }
  }
  for (const [i, control] of controls.entries()) vocab.set(control, 900 + i);
  return createTokenizer(
    TokenizerFile.parse({
      added_tokens: controls.map((content, i) => ({ content, id: 900 + i, special: i === 0 })),
      normalizer: null,
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: false },
      post_processor: null,
      decoder: { type: "ByteLevel" },
      model: { type: "BPE", vocab: Object.fromEntries(vocab), merges, ignore_merges: true },
    }),
  );
}

describe.each([
  ["nano", load(NANO)],
  ["gpt2-style", load(GPT2_STYLE)],
  ["treacherous", treacherous()],
])("%s", (_name, tokenizer) => {
  const controls = [...tokenizer.added.keys()];
  const forbidden = new Set(tokenizer.added.values());
  const table = createTokenTable({ ...tokenizer.vocabulary(), special: [], added: new Map() });

  const decode = (ids: number[]): string => {
    const text = createOutputText(table, [], []);
    return [...ids.flatMap((id) => text.push([id])), ...text.finish()]
      .map((piece) => piece.text)
      .join("");
  };

  test("no control token comes out of text that is one, or holds one", () => {
    for (const control of controls) {
      for (const text of [
        control,
        `a${control}b`,
        ` ${control} `,
        control + control,
        `\n${control}!`,
      ]) {
        const ids = tokenizer.encode(text);
        expect(ids.filter((id) => forbidden.has(id))).toEqual([]);
        expect(decode(ids)).toBe(text);
      }
    }
  });

  test("text comes back from its ids, and holds no control token, over fuzz", () => {
    const seed = 21;
    const dice = createDice(seed);
    const parts = [
      ...controls,
      ...controls.map((text) => text.slice(0, -1)),
      "<|",
      "|>",
      "<",
      ">",
      "é",
      " ",
      "think",
    ];
    for (let round = 0; round < 10_000; round++) {
      const text = Array.from({ length: dice.int(1, 8) }, () => dice.pick(parts)).join("");
      const ids = tokenizer.encode(text);
      expect(decode(ids), `seed ${seed}, round ${round}`).toBe(text);
      expect(
        ids.some((id) => forbidden.has(id)),
        `seed ${seed}, round ${round}: ${text}`,
      ).toBe(false);
    }
  });
});

test("splits at control tokens, the longest that fits", () => {
  expect(load(NANO).split("a<|user|>b<|user|><|use")).toEqual([
    "a",
    "<|user|>",
    "b",
    "<|user|>",
    "<|use",
  ]);
});

test("GPT-2's pattern takes for spaces what Unicode does, not what JavaScript does", () => {
  const vocab = Object.fromEntries(
    ["!", "Â", "ħ", "ï", "»", "¿", "!Â", "!ï"].map((text, id) => [text, id]),
  );
  const { encode } = createTokenizer(
    TokenizerFile.parse({
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: {
        type: "ByteLevel",
        add_prefix_space: false,
        trim_offsets: true,
        use_regex: true,
      },
      post_processor: null,
      decoder: { type: "ByteLevel" },
      model: { type: "BPE", vocab, merges: ["! Â", "! ï"] },
    }),
  );
  const id = (text: string): number => vocab[text]!;
  expect(encode("!\u0085")).toEqual([id("!"), id("Â"), id("ħ")]); // U+0085 is a space: no merge across
  expect(encode("!\ufeff")).toEqual([id("!ï"), id("»"), id("¿")]); // U+FEFF is none
});

describe("refuses what it cannot do as the reference does", () => {
  const file = JSON.parse(readFileSync(join(GPT2_STYLE, "tokenizer.json"), "utf8"));
  test.each([
    ["another model", { model: { ...file.model, type: "Unigram" } }],
    ["dropout", { model: { ...file.model, dropout: 0.1 } }],
    ["a token that eats spaces", { added_tokens: [{ ...file.added_tokens[0], lstrip: true }] }],
    [
      "a control token of one character",
      { added_tokens: [{ ...file.added_tokens[0], content: "😀" }] },
    ],
    [
      "a post-processor that adds tokens",
      { post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "x" } }] } },
    ],
  ])("%s", (_what, change) => {
    expect(TokenizerFile.safeParse(file).success).toBe(true);
    expect(TokenizerFile.safeParse({ ...file, ...change }).success).toBe(false);
  });
});
