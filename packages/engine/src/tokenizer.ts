/**
 * tokenizer.json: text to token ids, ids to bytes. Knows which tokens are control tokens (all added tokens, flagged
 * special or not); does not know what they mean, nor where text comes from.
 */
import { Tokenizer as BpeTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { EngineError } from "./errors.ts";

const AddedToken = z.looseObject({
  id: z.int().nonnegative(),
  content: z.string().regex(/../su), // the guard against control tokens breaks them behind their first character
  special: z.boolean().default(false),
  lstrip: z.literal(false).default(false),
  rstrip: z.literal(false).default(false),
  single_word: z.literal(false).default(false),
});

const Merge = z.union([z.string(), z.tuple([z.string(), z.string()])]);
const PreTokenizer = z.looseObject({ type: z.string() });

// Post-processors that add no token: here tokens come from the chat template alone.
const Neutral = z.union([
  z.looseObject({ type: z.literal("ByteLevel") }),
  z.looseObject({
    type: z.literal("TemplateProcessing"),
    single: z.array(z.strictObject({ Sequence: z.unknown() })),
  }),
]);
const PostProcessor = z.union([
  Neutral,
  z.looseObject({ type: z.literal("Sequence"), processors: z.array(Neutral) }),
]);

export const TokenizerFile = z.looseObject({
  added_tokens: z.array(AddedToken),
  normalizer: z.unknown(),
  pre_tokenizer: PreTokenizer,
  post_processor: PostProcessor.nullish(),
  decoder: z.looseObject({ type: z.literal("ByteLevel") }),
  model: z.looseObject({
    type: z.literal("BPE"),
    dropout: z.null().optional(),
    vocab: z.record(z.string(), z.int().nonnegative()),
    merges: z.array(Merge),
  }),
});

/** Every token's bytes, concatenated; token i is bytes.subarray(offsets[i], offsets[i + 1]). Moves between threads. */
export type Vocabulary = {
  bytes: Uint8Array<ArrayBuffer>;
  offsets: Uint32Array<ArrayBuffer>;
  /** Ids of the tokens flagged special. */
  special: number[];
  /** Ids of all added tokens by their text. */
  added: Map<string, number>;
};

export type Tokenizer = {
  /** Control tokens by their text. */
  readonly added: ReadonlyMap<string, number>;
  /** Splits at control tokens: text, control token, text, ...; texts may be empty. */
  split(text: string): string[];
  /** Ids of plain text. Whatever it holds, no id of a control token comes out. */
  encode(text: string): number[];
  vocabulary(): Vocabulary;
};

/** Throws `invalid_checkpoint` when the file's parts do not fit together. */
export function createTokenizer(file: z.output<typeof TokenizerFile>): Tokenizer {
  const added = new Map(file.added_tokens.map((token) => [token.content, token.id]));
  const plain = plainTokenizer(file);
  // Longest first, so that the leftmost match is also the longest one, as in the reference tokenizer.
  const contents = [...added.keys()].sort((a, b) => b.length - a.length);
  const control = new RegExp(
    `(${contents.map((text) => RegExp.escape(text)).join("|") || "(?!)"})`,
    "u",
  );
  return {
    added,
    split: (text) => text.split(control),
    encode: (text) => (text === "" ? [] : plain.encode(text, { add_special_tokens: false }).ids),
    vocabulary: () => vocabulary(file, added),
  };
}

/**
 * A tokenizer that has never heard of the control tokens: they are not in its list of added tokens, not in its
 * vocabulary, and no merge makes one. So no text encodes to one.
 */
function plainTokenizer(file: z.output<typeof TokenizerFile>): BpeTokenizer {
  const banned = new Set(
    file.added_tokens.flatMap((token) => [token.content, toByteAlphabet(token.content)]),
  );
  const { model } = file;
  const vocab = Object.fromEntries(
    Object.entries(model.vocab).filter(([text]) => !banned.has(text)),
  );
  const merges = model.merges.filter(
    (merge) => !banned.has(typeof merge === "string" ? merge.replace(" ", "") : merge.join("")),
  );
  const pre_tokenizer = isolateByteLevelRegex(file.pre_tokenizer);
  try {
    return new BpeTokenizer(
      { ...file, added_tokens: [], pre_tokenizer, model: { ...model, vocab, merges } },
      {},
    );
  } catch (cause) {
    throw new EngineError(
      "invalid_checkpoint",
      "tokenizer.json: not a tokenizer this engine can build",
      { cause },
    );
  }
}

// GPT-2's pattern. The library compiles it as a JavaScript literal, whose \s differs from Unicode's White_Space
// (U+0085, U+FEFF); written as a Split it takes the path that the library translates exactly.
const GPT2_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

function isolateByteLevelRegex(step: z.output<typeof PreTokenizer>): unknown {
  if (step.type !== "ByteLevel" || step["use_regex"] === false || step["add_prefix_space"] === true)
    return step;
  const split = {
    type: "Split",
    pattern: { Regex: GPT2_PATTERN },
    behavior: "Isolated",
    invert: false,
  };
  return { type: "Sequence", pretokenizers: [split, { ...step, use_regex: false }] };
}

function vocabulary(file: z.output<typeof TokenizerFile>, added: Map<string, number>): Vocabulary {
  const pieces: Uint8Array[] = [];
  for (const [text, id] of Object.entries(file.model.vocab)) pieces[id] = fromByteAlphabet(text);
  const utf8 = new TextEncoder();
  for (const [text, id] of added) pieces[id] = utf8.encode(text);
  const offsets = new Uint32Array(pieces.length + 1);
  for (let id = 0; id < pieces.length; id++)
    offsets[id + 1] = offsets[id]! + (pieces[id]?.length ?? 0);
  const bytes = new Uint8Array(offsets[pieces.length]!);
  pieces.forEach((piece, id) => bytes.set(piece, offsets[id]!));
  return {
    bytes,
    offsets,
    special: file.added_tokens.filter((token) => token.special).map((token) => token.id),
    added,
  };
}

/**
 * GPT-2's byte alphabet: printable Latin-1 bytes stand for themselves, the other 68 for U+0100 and up, in order.
 * Source: Radford et al. 2019, the published encoder.
 */
const BYTE_TO_CHAR: string[] = [];
for (let byte = 0, next = 0x100; byte < 256; byte++) {
  const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  BYTE_TO_CHAR.push(String.fromCharCode(printable ? byte : next++));
}
const CHAR_TO_BYTE = new Map(BYTE_TO_CHAR.map((char, byte) => [char, byte]));

function toByteAlphabet(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => BYTE_TO_CHAR[byte]).join("");
}

/** A token that is not written in the alphabet stands for its own UTF-8, as in the reference decoder. */
function fromByteAlphabet(text: string): Uint8Array {
  const bytes = Array.from(text, (char) => CHAR_TO_BYTE.get(char));
  return bytes.every((byte) => byte !== undefined)
    ? Uint8Array.from(bytes)
    : new TextEncoder().encode(text);
}
