/** From OpenAI's requests to ours. Knows no HTTP and no job: it runs in the intake's thread, too. */
import type { ChatRequest, ResponsesRequest } from "@glimpse/contracts";
import { batchLine, chatRequest, responsesRequest } from "@glimpse/contracts";
import { z } from "zod";
import { ApiError } from "../../api-error.ts";
import { validate } from "../../validate.ts";
import type { Translated } from "../dialects.ts";

/** Throws ApiErrors. */
export function readChat(value: unknown): Translated {
  const body = validate(chatRequest, value);
  const messages = body.messages.map(({ role, content }) => ({
    role: roleOf(role),
    content: typeof content === "string" ? content : content.map(chatPart),
  }));
  const said = {
    ...commonOf(body),
    messages,
    options: present({
      ...optionsOf(body),
      max_tokens: body.max_completion_tokens ?? body.max_tokens,
      seed: body.seed,
      logprobs: body.logprobs,
      stop: body.stop,
      thinking:
        body.chat_template_kwargs?.enable_thinking ??
        thinkingOf(body.reasoning_effort) ??
        (body.thinking && body.thinking.type === "enabled"),
    }),
  };
  return {
    said,
    asked: {
      door: "openai.chat",
      stream: body.stream ?? false,
      background: false,
      includeUsage: body.stream_options?.include_usage ?? false,
      echo: {},
    },
  };
}

/** Throws ApiErrors. */
export function readResponses(value: unknown): Translated {
  const body = validate(responsesRequest, value);
  const { input, instructions } = body;
  const items = typeof input === "string" ? [{ role: "user" as const, content: input }] : input;
  const messages = items.flatMap((item) => {
    if (!("role" in item)) return [];
    const { role, content } = item as Exclude<typeof item, { type: "reasoning" }>;
    const parts = typeof content === "string" ? content : content.map(inputPart);
    return [{ role: roleOf(role), content: parts }];
  });
  if (instructions != null) messages.unshift({ role: "system", content: instructions });
  const effort = body.reasoning?.effort;
  return {
    said: {
      ...commonOf(body),
      messages,
      options: present({
        ...optionsOf(body),
        max_tokens: body.max_output_tokens,
        logprobs: body.include?.includes("message.output_text.logprobs"),
        thinking: thinkingOf(effort),
      }),
    },
    asked: {
      door: "openai.responses",
      stream: body.stream ?? false,
      background: body.background ?? false,
      includeUsage: false,
      echo: present({
        instructions,
        previous_response_id: body.previous_response_id,
        max_output_tokens: body.max_output_tokens,
        temperature: body.temperature,
        top_p: body.top_p,
        reasoning: effort && { effort, summary: null },
      }),
    },
  };
}

/** Which of one's own jobs goes first; nothing is faster for it among others'. */
const tiers: Record<string, string> = { flex: "low", priority: "high", fast: "high" };

/** A line of a batch: either of the above, in the background. Throws ApiErrors. */
export function readBatchLine(value: unknown): Translated {
  const { url, body, custom_id } = validate(batchLine, value);
  if (
    url === "/v1/responses" &&
    z.object({ previous_response_id: z.string() }).safeParse(body).success
  )
    throw new ApiError(
      "unsupported_parameter",
      "A line of a batch goes on from nothing.",
      "previous_response_id",
    );
  const { said, asked } = url === "/v1/responses" ? readResponses(body) : readChat(body);
  return {
    said,
    ...(asked && { asked: { ...asked, stream: false, background: true, customId: custom_id } }),
  };
}

type Common = ChatRequest | ResponsesRequest;

function commonOf({ model, metadata, service_tier }: Common) {
  const priority = service_tier && tiers[service_tier];
  return present({ model, metadata, priority });
}

function optionsOf({ temperature, top_p, top_k, repetition_penalty, top_logprobs }: Common) {
  return { temperature, top_p, top_k, repetition_penalty, top_logprobs };
}

/** The model thinks or does not; how much is its own affair. */
function thinkingOf(effort: string | null | undefined): boolean | undefined {
  return effort == null ? undefined : effort !== "none" && effort !== "minimal";
}

/** A developer's word has the weight of the system's. */
function roleOf(role: ChatRequest["messages"][number]["role"]) {
  return role === "developer" ? "system" : role;
}

type Part = { type: "text"; text: string } | { type: "image_url"; image_url: { url: string } };
type ChatPart = Exclude<ChatRequest["messages"][number]["content"], string>[number];
type InputItem = Exclude<ResponsesRequest["input"], string>[number];
type InputPart = Exclude<Extract<InputItem, { role: unknown }>["content"], string>[number];

function chatPart(part: ChatPart): Part {
  if (part.type === "text") return { type: "text", text: part.text };
  const { image_url } = part;
  const url = typeof image_url === "string" ? image_url : image_url.url;
  return { type: "image_url", image_url: { url } };
}

function inputPart(part: InputPart): Part {
  return part.type === "input_image"
    ? { type: "image_url", image_url: { url: part.image_url } }
    : { type: "text", text: part.text };
}

/** Without the members that say nothing. */
function present(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value != null));
}
