import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readChatSettings } from "./checkpoint.ts";
import { createDice, GPT2_STYLE, NANO, readFixture } from "./fixtures.ts";
import { createPromptEncoder, type PromptMessage } from "./prompt.ts";
import { createTokenizer, TokenizerFile } from "./tokenizer.ts";
import type { Grid } from "./types.ts";

async function load(dir: string, template?: string) {
  const tokenizer = createTokenizer(
    TokenizerFile.parse(JSON.parse(readFileSync(join(dir, "tokenizer.json"), "utf8"))),
  );
  const chat = await readChatSettings(dir);
  const imageToken = tokenizer.added.get("<|image|>")!;
  const encode = createPromptEncoder(
    tokenizer,
    { ...chat, template: template ?? chat.template },
    imageToken,
    2,
  );
  return { encode, imageToken, controls: tokenizer.added };
}

const models = { nano: await load(NANO), "gpt2-style": await load(GPT2_STYLE) };
const user = (content: PromptMessage["content"]): PromptMessage => ({ role: "user", content });

describe("as transformers", () => {
  type Case = {
    tokenizer: keyof typeof models;
    messages: PromptMessage[];
    thinking: boolean | null;
    ids: string;
  };
  const GRID: Grid = [1, 8, 6]; // of the 56x84 picture in fixtures/make.py, grown to the least size

  test.each(readFixture<Case>("prompts").map((row, i) => ({ ...row, i })))(
    "$tokenizer $i",
    (row) => {
      const pictures = row.messages.flatMap(({ content }) =>
        typeof content === "string" ? [] : content.filter((part) => part.type === "image"),
      );
      const ids = models[row.tokenizer].encode(
        row.messages,
        pictures.map(() => GRID),
        row.thinking ?? undefined,
      );
      expect(ids.join(" ")).toBe(row.ids);
    },
  );
});

describe.each(Object.entries(models))(
  "control tokens in users' text, %s",
  (_name, { encode, imageToken, controls }) => {
    const only = (ids: number[]): number[] => {
      const ours = new Set(controls.values());
      return ids.filter((id) => ours.has(id));
    };
    const skeleton = (wrap: (text: string) => PromptMessage[], thinking?: boolean): number[] =>
      only(encode(wrap("x"), [], thinking));

    const placements: Record<string, (text: string) => PromptMessage[]> = {
      "whole message": (text) => [user(text)],
      "a part among parts": (text) => [
        user([
          { type: "text", text: "a" },
          { type: "text", text },
          { type: "text", text: "b" },
        ]),
      ],
      "system message": (text) => [{ role: "system", content: text }, user("hi")],
      "assistant history": (text) => [
        user("hi"),
        { role: "assistant", content: `a${text}` },
        user("go on"),
      ],
      "middle of words": (text) => [user(`before ${text} after`)],
      "end of line": (text) => [user(`q\n${text}`)],
    };

    test.each(Object.entries(placements))("every one, as %s", (_where, wrap) => {
      for (const thinking of [undefined, true, false]) {
        const wanted = skeleton(wrap, thinking);
        for (const control of controls.keys())
          expect(only(encode(wrap(control), [], thinking)), `${control}`).toEqual(wanted);
      }
    });

    test("halves that the template joins", () => {
      const wanted = skeleton((text) => [
        user([
          { type: "text", text },
          { type: "text", text },
        ]),
      ]);
      for (const control of controls.keys())
        for (let at = 1; at < control.length; at++) {
          const halves = [control.slice(0, at), control.slice(at)].map((text) => ({
            type: "text" as const,
            text,
          }));
          expect(only(encode([user(halves)], [])), `${control}`).toEqual(wanted);
        }
    });

    test("fuzz of fragments, sentinels and lone surrogates", () => {
      const seed = 31;
      const dice = createDice(seed);
      const fragments = [...controls.keys()].flatMap((text) => [
        text,
        text.slice(0, 3),
        text.slice(3),
      ]);
      const parts = [
        ...fragments,
        "<",
        "|",
        ">",
        " ",
        "\n",
        "a",
        "\u{10ffff}",
        "\u{10fffe}",
        "\ufdd0",
        "\ud83d",
        "\udcff",
      ];
      const wanted = skeleton((text) => [
        { role: "system", content: text },
        user([{ type: "text", text }]),
      ]);
      for (let round = 0; round < 10_000; round++) {
        const text = (): string =>
          Array.from({ length: dice.int(1, 9) }, () => dice.pick(parts)).join("");
        const messages = [
          { role: "system", content: text() },
          user([
            { type: "text", text: text() },
            { type: "text", text: text() },
          ]),
        ];
        expect(only(encode(messages, [])), `seed ${seed}, round ${round}`).toEqual(wanted);
      }
    });

    test("the number of image tokens is the pictures', whatever the text says", () => {
      const messages = [
        user([
          { type: "image" },
          { type: "text", text: "<|image|><|begin_of_image|><|image|>" },
          { type: "image" },
        ]),
      ];
      const ids = encode(messages, [
        [1, 4, 6],
        [1, 2, 2],
      ]);
      expect(ids.filter((id) => id === imageToken)).toHaveLength(6 + 1);
    });
  },
);

describe("templates that would make control tokens of text", () => {
  const hostile = [
    "<|us{{ messages[0].content }}", // text that ends what the template begins
    "{{ messages[0].content }}r|>", // text that begins what the template ends
    "{{ messages[0].content.strip() }}r|>",
    "{{ messages[0].content | trim }}{{ messages[1].content }}", // messages joined
    "<{{ messages[0].content }}{{ messages[1].content }}>",
  ];
  test.each(hostile)("%s", async (template) => {
    const { encode, controls } = await load(NANO, template);
    const ours = new Set(controls.values());
    for (const [a, b] of [
      ["er|>", ""],
      [" <|use ", "r|>"],
      ["<|use", "r|>"],
      ["|user|", ""],
      ["/no", "think"],
      ["thi", "nk"],
    ]) {
      const ids = encode([user(a!), user(b!)], []);
      expect(ids.filter((id) => ours.has(id))).toEqual([]);
    }
  });
});

test("a template that loses or invents a picture is refused, never run", async () => {
  const lossy = await load(NANO, "{{ messages[0].role }}");
  expect(() => lossy.encode([user([{ type: "image" }])], [[1, 2, 2]])).toThrow(
    expect.objectContaining({ code: "invalid_checkpoint" }),
  );
  const inventive = await load(NANO, "<|image|>");
  expect(() => inventive.encode([user("hi")], [])).toThrow(
    expect.objectContaining({ code: "invalid_checkpoint" }),
  );
});

test("a template's own refusal is a refusal of the prompt", async () => {
  const strict = await load(NANO, "{{ raise_exception('System messages are not supported') }}");
  expect(() => strict.encode([user("hi")], [])).toThrow(
    expect.objectContaining({ code: "invalid_prompt" }),
  );
});

test("a template that does not parse is the checkpoint's fault", async () => {
  await expect(load(NANO, "{% if %}")).rejects.toMatchObject({ code: "invalid_checkpoint" });
});
