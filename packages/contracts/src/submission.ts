/** What a client may send to start a job. Strict: a field that does not exist is refused by name. */
import { z } from "zod";
import { deadlineMs, metadata, priority } from "./jobs.ts";
import { jobWebhook } from "./webhooks.ts";

const maxTextLength = 1_000_000;

/** The code with which the API answers when this check fails. */
const badPrompt = { params: { code: "invalid_prompt" } };

/** Any text that survives UTF-8: no lone surrogates, no NUL. */
const text = z
  .string()
  .max(maxTextLength)
  .refine((value) => value.isWellFormed() && !value.includes("\0"), {
    ...badPrompt,
    message: "must be valid Unicode text",
  });

const nonBlank = text.refine((value) => value.trim() !== "", {
  ...badPrompt,
  message: "must not be empty",
});

/** The bytes of a URL are judged where they are fetched or decoded; here only that it is a string. */
const imageUrl = z.string().min(1).meta({ description: "A data URL, or an http or https URL" });

export const messagePart = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text"), text }),
  z
    .strictObject({ type: z.literal("image") })
    .meta({ description: "Takes the next one of `images`" }),
  z.strictObject({ type: z.literal("image_url"), image_url: z.strictObject({ url: imageUrl }) }),
]);

export const message = z.strictObject({
  role: z.enum(["system", "user", "assistant"]),
  content: z.union([nonBlank, z.array(messagePart).min(1)]),
});

export const image = z.union([
  imageUrl,
  z.strictObject({ data: z.string().meta({ description: "Base64" }), media_type: z.string() }),
]);

export const options = z
  .strictObject({
    max_tokens: z.int().min(1).max(1_000_000).optional(),
    temperature: z.number().min(0).max(2).optional().meta({ description: "0 is greedy" }),
    top_p: z.number().gt(0).max(1).optional(),
    top_k: z.int().min(0).max(1_000_000).optional().meta({ description: "0 is no limit" }),
    repetition_penalty: z.number().gt(0).max(10).optional(),
    seed: z.int().min(0).optional().meta({ description: "Same seed, same answer" }),
    stop: z
      .union([z.string().min(1).max(256), z.array(z.string().min(1).max(256)).max(16)])
      .optional()
      .meta({ description: "The answer ends before the first of these" }),
    thinking: z.boolean().optional(),
    logprobs: z.boolean().optional().meta({
      description: "Whether the output says how likely each token of the answer was",
    }),
    top_logprobs: z.int().min(0).max(20).optional().meta({
      description:
        "How many of the likeliest tokens are told at each place; together with the answer's own there are 4096 at most, those of its beginning",
    }),
  })
  .meta({ id: "Options", description: "What is missing takes the model's own default" });
export type Options = z.infer<typeof options>;

export const submission = z
  .strictObject({
    model: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .meta({ description: "A model or one of its versions; the default if missing" }),
    prompt: nonBlank.optional(),
    messages: z.array(message).min(1).max(256).optional(),
    images: z.array(image).max(64).optional(),
    options: options.optional(),
    priority: priority.optional(),
    deadline_ms: deadlineMs.optional(),
    metadata: metadata.optional(),
    webhook: jobWebhook.optional(),
  })
  .refine((body) => (body.prompt === undefined) !== (body.messages === undefined), {
    message: "must have either prompt or messages",
  })
  .refine((body) => body.messages === undefined || body.messages.at(-1)?.role === "user", {
    message: "must end with a message of the user",
    path: ["messages"],
  })
  .refine(({ options }) => !options?.top_logprobs || options.logprobs === true, {
    message: "needs logprobs",
    path: ["options", "top_logprobs"],
  })
  .meta({ id: "Submission" });
export type Submission = z.infer<typeof submission>;
