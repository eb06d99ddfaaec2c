/** pnpm ask: one question to a model from the command line. The answer goes to stdout, all else to stderr. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  DeviceName,
  deviceOf,
  Engine,
  EngineError,
  type GenerateRequest,
  type Message,
  type Piece,
} from "@glimpse/engine";
import { z } from "zod";
import { prepareModel } from "./prepare.ts";

const USAGE = `usage: pnpm ask [--model DIR] [--image FILE]... [--messages FILE.json] [--thinking on|off]
                [--greedy] [--max-tokens N] [--device cpu|cuda[:N]] [--json] "question"

  --model DIR       a checkpoint or a converted folder (models/nano)
  --image FILE      a JPEG, PNG or WebP file; may be repeated
  --messages FILE   messages instead of the question; {"type": "image"} parts take the --image files in order
  --thinking on|off what the chat template makes of it; by default its own choice
  --greedy          the most likely token each time
  --max-tokens N    tokens of the answer at most (1024)
  --device cuda:N   where the model runs (cpu); a checkpoint is converted to fp16 for a card
  --json            one line of JSON at the end instead of text as it comes`;

class UsageError extends Error {}

const Options = z.strictObject({
  model: z.string().min(1).default("models/nano"),
  image: z.array(z.string()).default([]),
  messages: z.string().optional(),
  thinking: z.enum(["on", "off"]).optional(),
  greedy: z.boolean().default(false),
  "max-tokens": z.coerce.number().int().positive().default(1024),
  device: DeviceName.default("cpu"),
  json: z.boolean().default(false),
});
type Options = z.infer<typeof Options>;

const Messages = z.array(
  z.strictObject({
    role: z.enum(["system", "user", "assistant"]),
    content: z.union([
      z.string(),
      z.array(
        z.discriminatedUnion("type", [
          z.strictObject({ type: z.literal("text"), text: z.string() }),
          z.strictObject({ type: z.literal("image") }),
        ]),
      ),
    ]),
  }),
);
type Messages = z.infer<typeof Messages>;

async function main(): Promise<void> {
  const { options, question } = readArguments();
  const messages = await readMessages(options, question);
  // oxlint-disable-next-line node/no-process-env -- a command line is a process of its own
  const cacheDir = join(process.env["DATA_DIR"] ?? ".glimpse", "models");
  const device = deviceOf(options.device);
  const dtype = device.type === "cuda" ? "fp16" : "fp32";
  const onProgress = progressReport();
  const dir = await prepareModel(options.model, { cacheDir, dtype, onProgress });
  const engine = await Engine.load(dir, { device });
  try {
    const answer = engine.generate({
      messages,
      maxTokens: options["max-tokens"],
      ...(options.greedy && { sampling: { temperature: 0 } }),
      ...(options.thinking && { thinking: options.thinking === "on" }),
    } satisfies GenerateRequest);
    await (options.json ? printJson(answer) : printText(answer));
  } finally {
    await engine.close();
  }
}

function readArguments(): { options: Options; question: string | undefined } {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const parsed = parse(() =>
    parseArgs({
      allowPositionals: true,
      options: {
        model: text,
        image: { type: "string", multiple: true },
        messages: text,
        thinking: text,
        greedy: flag,
        "max-tokens": text,
        device: text,
        json: flag,
      },
    }),
  );
  const options = parse(() => Options.parse(parsed.values));
  const wanted = options.messages === undefined ? 1 : 0;
  if (parsed.positionals.length !== wanted)
    throw new UsageError("give one question, or --messages and none");
  return { options, question: parsed.positionals[0] };
}

function parse<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new UsageError("the arguments cannot be read", { cause });
  }
}

/** The conversation with the pictures' bytes in their places; without --messages the pictures come first. */
async function readMessages(options: Options, question: string | undefined): Promise<Message[]> {
  const images = await Promise.all(options.image.map(readImage));
  const messages: Messages =
    options.messages === undefined
      ? [
          {
            role: "user",
            content: [
              ...images.map(() => ({ type: "image" as const })),
              { type: "text", text: question ?? "" },
            ],
          },
        ]
      : await readMessagesFile(options.messages);
  const waiting = images.values();
  const filled = messages.map(({ role, content }): Message => {
    if (typeof content === "string") return { role, content };
    return {
      role,
      content: content.map((part) => {
        if (part.type === "text") return part;
        const image = waiting.next().value;
        if (image === undefined)
          throw new UsageError("there are more image parts than --image files");
        return { type: "image", image };
      }),
    };
  });
  if (!waiting.next().done) throw new UsageError("there are more --image files than image parts");
  return filled;
}

async function readImage(file: string): Promise<Uint8Array> {
  return readFile(file).catch((cause: unknown) => {
    throw new EngineError("invalid_image", `${file}: cannot be read`, { cause });
  });
}

async function readMessagesFile(file: string): Promise<Messages> {
  try {
    return Messages.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (cause) {
    throw new EngineError("invalid_request", `${file}: not a JSON list of messages`, { cause });
  }
}

async function printText(answer: AsyncIterable<Piece>): Promise<void> {
  for await (const piece of answer) {
    if (piece.type === "delta") process.stdout.write(piece.text);
    if (piece.type === "reasoning") process.stderr.write(piece.text);
  }
  process.stdout.write("\n");
}

async function printJson(answer: AsyncIterable<Piece>): Promise<void> {
  let [text, reasoning] = ["", ""];
  let line: Record<string, unknown> = {};
  for await (const piece of answer) {
    if (piece.type === "delta") text += piece.text;
    if (piece.type === "reasoning") reasoning += piece.text;
    if (piece.type === "prompt") {
      line = {
        prompt_token_ids: piece.promptTokenIds,
        image_grids: piece.imageGrids,
        pixel_digest: piece.pixelDigest,
      };
    }
    if (piece.type === "end") {
      const { usage, timings } = piece;
      line = {
        text,
        reasoning,
        ...line,
        output_token_ids: piece.outputTokenIds,
        finish_reason: piece.finishReason,
        usage: {
          prompt_tokens: usage.promptTokens,
          image_tokens: usage.imageTokens,
          completion_tokens: usage.completionTokens,
        },
        timings: {
          preprocess_ms: timings.preprocessMs,
          vision_ms: timings.visionMs,
          first_token_ms: timings.firstTokenMs,
          total_ms: timings.totalMs,
        },
      };
    }
  }
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Says every tenth of a conversion; a small model's is over before one would read it. */
function progressReport(): (done: number, total: number) => void {
  let shown = 0;
  return (done, total) => {
    const tenth = Math.floor((10 * done) / total);
    if (tenth > shown && total > 100e6) console.error(`converting the model: ${tenth * 10} %`);
    shown = Math.max(shown, tenth);
  };
}

try {
  await main();
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`${error.message}\n${USAGE}`);
    process.exitCode = 2;
  } else if (error instanceof EngineError) {
    console.error(`${error.code}: ${error.message}`);
    process.exitCode = 1;
  } else throw error;
}
