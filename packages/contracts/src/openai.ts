/**
 * OpenAI's requests, as far as they mean something here. A member that changes nothing about an answer is taken and ignored;
 * one that would change it in a way that the model cannot is refused unless it has its neutral value.
 */
import { z } from "zod";
import { metadata } from "./jobs.ts";

/** Taken and ignored. */
const ignored = z.unknown().optional();

/** Nothing, null, or one of these. */
function neutral(...values: unknown[]) {
  const known = new Set(values.map((value) => JSON.stringify(value)));
  return z
    .unknown()
    .optional()
    .refine((value) => value == null || known.has(JSON.stringify(value)), {
      params: { code: "unsupported_parameter" },
      message: "is not supported by this model",
    });
}

const role = z.enum(["system", "developer", "user", "assistant"]);
const serviceTier = z.enum(["auto", "default", "flex", "scale", "priority", "fast"]);
const effort = z.enum(["none", "minimal", "low", "medium", "high", "xhigh", "max"]);

/** Common to both kinds of request. */
const common = {
  model: z.string().min(1).max(128).nullish(),
  temperature: z.number().nullish(),
  top_p: z.number().nullish(),
  stream: z.boolean().nullish(),
  metadata: metadata.nullish(),
  service_tier: serviceTier.nullish(),
  tools: neutral([]),
  tool_choice: neutral("none", "auto"),
  // Known to other servers of open models, and so to their clients.
  top_k: z.int().nullish(),
  repetition_penalty: z.number().nullish(),
  store: ignored,
  user: ignored,
  parallel_tool_calls: ignored,
  safety_identifier: ignored,
  prompt_cache_key: ignored,
  prompt_cache_options: ignored,
  prompt_cache_retention: ignored,
};

const imageUrl = z.string().min(1);

const chatPart = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text"), text: z.string(), prompt_cache_breakpoint: ignored }),
  z.strictObject({
    type: z.literal("image_url"),
    image_url: z.union([imageUrl, z.strictObject({ url: imageUrl, detail: ignored })]),
    prompt_cache_breakpoint: ignored,
  }),
]);

const chatMessage = z.strictObject({
  role,
  content: z.union([z.string(), z.array(chatPart).min(1)]),
  name: ignored,
  refusal: neutral(),
  audio: neutral(),
  function_call: neutral(),
  tool_calls: neutral([]),
  reasoning_content: ignored,
});

export const chatRequest = z
  .strictObject({
    ...common,
    messages: z.array(chatMessage).min(1).max(256),
    max_tokens: z.int().nullish(),
    max_completion_tokens: z.int().nullish(),
    stop: z.union([z.string(), z.array(z.string())]).nullish(),
    seed: z.int().nullish(),
    stream_options: z
      .strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: ignored })
      .nullish(),
    reasoning_effort: effort.nullish(),
    thinking: z.object({ type: z.enum(["enabled", "disabled"]) }).nullish(),
    chat_template_kwargs: z.strictObject({ enable_thinking: z.boolean().nullish() }).nullish(),
    n: neutral(1),
    presence_penalty: neutral(0),
    frequency_penalty: neutral(0),
    logit_bias: neutral({}),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().nullish(),
    response_format: neutral({ type: "text" }),
    modalities: neutral(["text"]),
    audio: neutral(),
    function_call: neutral("none", "auto"),
    functions: neutral([]),
    web_search_options: neutral(),
    moderation: neutral(),
    prediction: ignored,
    verbosity: ignored,
  })
  .meta({ id: "ChatCompletionRequest" });
export type ChatRequest = z.infer<typeof chatRequest>;

const inputPart = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("input_text"),
    text: z.string(),
    prompt_cache_breakpoint: ignored,
  }),
  z.strictObject({
    type: z.literal("output_text"),
    text: z.string(),
    annotations: ignored,
    logprobs: ignored,
  }),
  z.strictObject({
    type: z.literal("input_image"),
    image_url: imageUrl,
    detail: ignored,
    file_id: neutral(),
    prompt_cache_breakpoint: ignored,
  }),
]);

const inputMessage = z.strictObject({
  type: z.literal("message").optional(),
  role,
  content: z.union([z.string(), z.array(inputPart).min(1)]),
  id: ignored,
  status: ignored,
  phase: ignored,
});

/** What a model thought before is not told to it again. */
const inputItem = z.discriminatedUnion("type", [
  inputMessage,
  z.looseObject({ type: z.literal("reasoning") }),
]);

export const responsesRequest = z
  .strictObject({
    ...common,
    input: z.union([z.string(), z.array(inputItem).min(1).max(256)]),
    instructions: z.string().nullish(),
    max_output_tokens: z.int().nullish(),
    background: z.boolean().nullish(),
    reasoning: z.object({ effort: effort.nullish(), summary: ignored }).nullish(),
    text: z.strictObject({ format: neutral({ type: "text" }), verbosity: ignored }).nullish(),
    previous_response_id: z.string().nullish(),
    conversation: neutral(),
    context_management: neutral(),
    prompt: neutral(),
    top_logprobs: z.int().nullish(),
    truncation: neutral("disabled", "auto"),
    include: z.array(z.string()).nullish(),
    max_tool_calls: ignored,
    access_programs: ignored,
    image: ignored,
    moderation: neutral(),
    stream_options: ignored,
  })
  .meta({ id: "ResponseRequest" });
export type ResponsesRequest = z.infer<typeof responsesRequest>;
