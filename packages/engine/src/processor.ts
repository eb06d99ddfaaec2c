/**
 * Messages to the model's input: pictures to patches, text to ids. Heavy and synchronous in places: runs in a worker
 * thread (processor-thread.ts). Knows nothing of the networks.
 */
import {
  readChatSettings,
  readGenerationSettings,
  readImageSettings,
  readJson,
} from "./checkpoint.ts";
import { contextTooLong } from "./errors.ts";
import { type Limits, type Pictures, preprocess } from "./preprocess.ts";
import { createPromptEncoder, type PromptMessage } from "./prompt.ts";
import { createTokenizer, TokenizerFile, type Vocabulary } from "./tokenizer.ts";
import type { Message } from "./types.ts";

export type ModelInput = Pictures & {
  /** Prompt token ids, with the image token repeated once for every merged patch. */
  ids: number[];
};

export type Processor = {
  process(messages: Message[], thinking?: boolean): Promise<ModelInput>;
  vocabulary: Vocabulary;
};

/**
 * Reads the checkpoint's tokenizer, template and preprocessor.
 * @throws EngineError `invalid_checkpoint` naming the file
 */
export async function loadProcessor(dir: string, limits: Limits): Promise<Processor> {
  const [file, chat, image, { imageTokenId }] = await Promise.all([
    readJson(dir, "tokenizer.json", TokenizerFile),
    readChatSettings(dir),
    readImageSettings(dir),
    readGenerationSettings(dir),
  ]);
  const tokenizer = createTokenizer(file);
  const encodePrompt = createPromptEncoder(tokenizer, chat, imageTokenId, image.merge);
  const vocabulary = tokenizer.vocabulary();
  const longest = longestToken(vocabulary);
  return {
    vocabulary,
    async process(messages, thinking) {
      // Encoding megabytes takes seconds of this thread: what is too long at any rate is refused unread.
      const least = Math.ceil(textBytes(messages) / longest);
      if (least > limits.context) throw contextTooLong(least, limits.context);
      const pictures = await preprocess(imageFiles(messages), image, limits);
      return {
        ...pictures,
        ids: encodePrompt(messages.map(withoutBytes), pictures.grids, thinking),
      };
    },
  };
}

function longestToken({ offsets }: Vocabulary): number {
  return offsets.reduce((longest, at, id) => Math.max(longest, at - (offsets[id - 1] ?? 0)), 1);
}

function textBytes(messages: Message[]): number {
  const texts = messages.flatMap(({ content }) =>
    typeof content === "string"
      ? [content]
      : content.flatMap((part) => (part.type === "text" ? [part.text] : [])),
  );
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}

function imageFiles(messages: Message[]): Uint8Array[] {
  return messages.flatMap(({ content }) =>
    typeof content === "string"
      ? []
      : content.flatMap((part) => (part.type === "image" ? [part.image] : [])),
  );
}

function withoutBytes({ role, content }: Message): PromptMessage {
  if (typeof content === "string") return { role, content };
  return {
    role,
    content: content.map((part) => (part.type === "image" ? { type: "image" } : part)),
  };
}
