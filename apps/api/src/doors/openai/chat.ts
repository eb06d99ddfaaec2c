/** `/v1/chat/completions`: a job in the words of OpenAI's chat. */
import type { Job, Output, Usage } from "@glimpse/contracts";
import { Hono } from "hono";
import type { AppEnv } from "../../errors.ts";
import type { DoorJob, Project, Teller } from "../project.ts";
import { formOf, nameOf, refusalOfEnd } from "../project.ts";
import { errorFrame, seconds } from "../shapes.ts";

export function chatRoutes(project: Project) {
  const app = new Hono<AppEnv>();
  app.post("/v1/chat/completions", async (c) => {
    const submitted = await project.submit(c, "openai.chat");
    if (submitted.asked?.stream) return project.stream(c, submitted, formOf(chatTeller(submitted)));
    return c.json(completionOf(await project.awaitSuccess(c, submitted.job)));
  });
  return app;
}

/** The answer in one piece, of a job that has succeeded. */
export function completionOf(job: Job) {
  const { output, usage } = job;
  const said = { role: "assistant", content: output?.text ?? "", refusal: null, annotations: [] };
  const thoughts = output?.reasoning == null ? {} : { reasoning_content: output.reasoning };
  const choice = { index: 0, message: { ...said, ...thoughts }, ...endOf(output) };
  return { ...headOf(job, "chat.completion"), choices: [choice], usage: usageOf(usage) };
}

/** The answer as it comes. */
function chatTeller({ job, asked }: DoorJob): Teller {
  const includeUsage = asked?.includeUsage ?? false;
  const head = headOf(job, "chat.completion.chunk");
  const chunk = (choices: object[], usage: object | null = null) =>
    `data: ${JSON.stringify({ ...head, choices, ...(includeUsage && { usage }) })}\n\n`;
  const say = (delta: object, output: Output | null = null) =>
    chunk([{ index: 0, delta, ...endOf(output) }]);
  return {
    begin: () => say({ role: "assistant", content: "" }),
    running: () => "",
    piece: (type, text) => say(type === "delta" ? { content: text } : { reasoning_content: text }),
    end(event) {
      if (event.type !== "succeeded")
        return errorFrame(refusalOfEnd({ state: event.type, error: event.error }));
      const last = say({}, event.output);
      return `${last}${includeUsage ? chunk([], usageOf(event.usage)) : ""}data: [DONE]\n\n`;
    },
    refuse: errorFrame,
  };
}

function headOf({ id, created_at, model, version }: Job, object: string) {
  const created = seconds(created_at);
  return { id: nameOf("chatcmpl-", id), object, created, model, system_fingerprint: version };
}

function endOf(output: Output | null) {
  const logprobs = output?.logprobs && { content: output.logprobs, refusal: null };
  return { logprobs: logprobs ?? null, finish_reason: output?.finish_reason ?? null };
}

function usageOf(usage: Usage | null) {
  const { prompt_tokens = 0, completion_tokens = 0, image_tokens = 0 } = usage ?? {};
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: 0, image_tokens },
  };
}
