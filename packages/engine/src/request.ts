/** A GenerateRequest from outside, checked: ranges and shapes. What a checkpoint allows is checked where it is known. */
import { z } from "zod";
import { EngineError } from "./errors.ts";
import type { GenerateRequest } from "./types.ts";

const Part = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text"), text: z.string() }),
  z.strictObject({ type: z.literal("image"), image: z.instanceof(Uint8Array) }),
]);

const Message = z.strictObject({
  role: z.enum(["system", "user", "assistant"]),
  content: z.union([z.string(), z.array(Part)]),
});

const Request = z.strictObject({
  messages: z.array(Message),
  sampling: z
    .strictObject({
      temperature: z.number().min(0).max(100),
      topP: z.number().min(0).max(1),
      topK: z.int().nonnegative(),
      repetitionPenalty: z.number().positive().max(100),
      seed: z.int(),
    })
    .partial()
    .optional(),
  maxTokens: z.int().positive().optional(),
  minTokens: z.int().nonnegative().optional(),
  stop: z.array(z.string().min(1)).optional(),
  thinking: z.boolean().optional(),
  logprobs: z.int().min(0).max(20).optional(),
  priority: z.int().optional(),
  deadline: z.number().optional(),
});

/**
 * Throws `invalid_request` naming the field, `too_many_images`, `invalid_prompt` when the last message says and shows
 * nothing.
 */
export function checkRequest(request: GenerateRequest, maxPictures: number): void {
  const parsed = Request.safeParse(request);
  if (!parsed.success) {
    const field = parsed.error.issues[0]?.path.join(".") ?? "";
    throw new EngineError("invalid_request", `"${field}" is not valid`, { cause: parsed.error });
  }
  if ((request.minTokens ?? 0) > (request.maxTokens ?? Infinity))
    throw new EngineError("invalid_request", '"minTokens" is more than "maxTokens"');
  const pictures = countPictures(request);
  if (pictures > maxPictures)
    throw new EngineError(
      "too_many_images",
      `there are ${pictures} pictures; at most ${maxPictures} are taken`,
    );
  const content = request.messages.at(-1)?.content ?? "";
  const filled =
    typeof content === "string"
      ? content.trim() !== ""
      : content.some((part) => part.type === "image" || part.text.trim() !== "");
  if (!filled) throw new EngineError("invalid_prompt", "the prompt is empty");
}

function countPictures({ messages }: GenerateRequest): number {
  const images = messages.flatMap(({ content }) =>
    typeof content === "string" ? [] : content.filter((part) => part.type === "image"),
  );
  return images.length;
}
