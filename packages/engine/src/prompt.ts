/**
 * Messages to prompt token ids, by the checkpoint's chat template: the ids of transformers' processor, with one
 * difference. Text from users never becomes a control token, whatever it holds and however the template joins it.
 *
 * How: a sentinel character that no text holds goes behind every character of users' text that could begin a control
 * token, and at both ends of the text. Rendered so, the only control tokens in the prompt are the template's own. The
 * prompt is split at those, the sentinels are taken out, and what is left is encoded as plain text.
 */
import { Template } from "@huggingface/jinja";
import type { ChatSettings } from "./checkpoint.ts";
import { EngineError } from "./errors.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { Grid } from "./types.ts";

/** A message without the pictures' bytes: here only their places count. */
export type PromptMessage = { role: string; content: string | PromptPart[] };
type PromptPart = { type: "text"; text: string } | { type: "image" };

export type PromptEncoder = (
  messages: PromptMessage[],
  grids: Grid[],
  thinking?: boolean,
) => number[];

/** @param merge patches a side that merge into one token: a picture of grid [t, h, w] takes t * h * w / merge^2 tokens */
export function createPromptEncoder(
  tokenizer: Tokenizer,
  chat: ChatSettings,
  imageTokenId: number,
  merge: number,
): PromptEncoder {
  const template = compile(chat.template);
  const starts = startPattern([...tokenizer.added.keys()]);

  /** Throws `invalid_prompt` when the template refuses, `invalid_checkpoint` when it loses or invents a picture. */
  return function encodePrompt(messages, grids, thinking) {
    const sentinel = pickSentinel(messages);
    const rendered = render(template, {
      messages: messages.map((message) => shieldMessage(message, starts, sentinel)),
      tools: null,
      documents: null,
      add_generation_prompt: true,
      ...chat.specialTokens,
      ...(thinking === undefined ? {} : { enable_thinking: thinking }),
    });
    const ids: number[] = [];
    let pictures = 0;
    for (const [i, piece] of tokenizer.split(rendered).entries()) {
      const id = i % 2 === 1 ? tokenizer.added.get(piece) : undefined;
      if (id === undefined) {
        for (const textId of tokenizer.encode(piece.replaceAll(sentinel, ""))) ids.push(textId);
        continue;
      }
      const [t, h, w] = (id === imageTokenId ? grids[pictures++] : undefined) ?? [1, merge, merge];
      for (let n = (t * h * w) / merge ** 2; n > 0; n--) ids.push(id);
    }
    if (pictures !== grids.length)
      throw new EngineError(
        "invalid_checkpoint",
        `chat_template.jinja: places ${pictures} pictures of ${grids.length}`,
      );
    return ids;
  };
}

function compile(source: string): Template {
  try {
    return new Template(source);
  } catch (cause) {
    throw new EngineError(
      "invalid_checkpoint",
      "chat_template.jinja: not a template this engine can read",
      { cause },
    );
  }
}

function render(template: Template, variables: Record<string, unknown>): string {
  try {
    return template.render(variables);
  } catch (cause) {
    throw new EngineError(
      "invalid_prompt",
      "the model's chat template does not accept these messages",
      { cause },
    );
  }
}

function texts(messages: PromptMessage[]): string[] {
  return messages.flatMap(({ content }) =>
    typeof content === "string"
      ? [content]
      : content.flatMap((part) => (part.type === "text" ? [part.text] : [])),
  );
}

/** A character of the last two private planes that no text holds; there are 131,072 to choose from. */
function pickSentinel(messages: PromptMessage[]): string {
  const taken = new Set(
    texts(messages).flatMap((text) => text.match(/[\u{f0000}-\u{10ffff}]/gu) ?? []),
  );
  for (let code = 0x10ffff; code >= 0xf0000; code--) {
    const char = String.fromCodePoint(code);
    if (!taken.has(char)) return char;
  }
  throw new EngineError("invalid_prompt", "the text uses every private character of Unicode");
}

function startPattern(controls: string[]): RegExp {
  const starts = new Set(controls.map((text) => String.fromCodePoint(text.codePointAt(0)!)));
  return new RegExp([...starts].map((char) => RegExp.escape(char)).join("|") || "(?!)", "gu");
}

function shieldMessage(message: PromptMessage, starts: RegExp, sentinel: string): PromptMessage {
  const shielded = (text: string): string => shield(text.toWellFormed(), starts, sentinel);
  if (typeof message.content === "string")
    return { ...message, content: shielded(message.content) };
  const parts = message.content.map((part) =>
    part.type === "text" ? { ...part, text: shielded(part.text) } : part,
  );
  return { ...message, content: parts };
}

/** What Python's str.strip() takes off. The end sentinels stand inside it, so that a template's strip still works. */
function isSpace(char: string): boolean {
  return /\p{White_Space}/u.test(char) || (char >= "\x1c" && char <= "\x1f");
}

function shield(text: string, starts: RegExp, sentinel: string): string {
  let [from, to] = [0, text.length];
  while (from < to && isSpace(text[from]!)) from++;
  while (to > from && isSpace(text[to - 1]!)) to--;
  if (from === to) return text;
  const inner = text.slice(from, to).replace(starts, (char) => char + sentinel);
  return text.slice(0, from) + sentinel + inner + sentinel + text.slice(to);
}
