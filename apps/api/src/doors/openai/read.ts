/** From OpenAI's requests to ours. Knows no HTTP and no job: it runs in the intake's thread, too. */
import type { ChatRequest, ResponsesRequest } from "@glimpse/contracts";
import { chatRequest, responsesRequest } from "@glimpse/contracts";
import { validate } from "../../validate.ts";
import type { Translated } from "../dialects.ts";
import { fieldNames } from "../field-names.ts";
import { imagePart, present, textPart } from "../shapes.ts";

/** Throws ApiErrors. */
export function readChat(value: unknown): Translated {
  const body = validate(chatRequest, value);
  return {
    said: {
      ...commonOf(body),
      messages: body.messages.map(messageOf),
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
    },
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
  const messages = items.flatMap((item) => ("role" in item ? messageOf(item as Said) : []));
  const names = items.flatMap((item, i) => ("role" in item ? `input.${i}` : []));
  if (typeof input === "string") names[0] = "input";
  if (instructions != null) {
    messages.unshift({ role: "system", content: instructions });
    names.unshift("instructions");
  }
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
    namesOf: fieldNames("input", names, ".image_url"),
  };
}

/** Which of one's own jobs goes first; nothing is faster for it among others'. */
const tiers: Record<string, string> = { flex: "low", priority: "high", fast: "high" };

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

type InputItem = Exclude<ResponsesRequest["input"], string>[number];
type Said = ChatRequest["messages"][number] | Extract<InputItem, { role: unknown }>;
type Part = Exclude<Said["content"], string>[number];

/** A developer's word has the weight of the system's. */
function messageOf({ role, content }: Said) {
  const parts = typeof content === "string" ? content : content.map(partOf);
  return { role: role === "developer" ? "system" : role, content: parts };
}

function partOf(part: Part) {
  if (!("image_url" in part)) return textPart(part.text);
  const { image_url } = part;
  return imagePart(typeof image_url === "string" ? image_url : image_url.url);
}
