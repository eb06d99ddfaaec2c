/** `/v1/responses`: a job in the words of OpenAI's responses. Its event stream is its log, numbered anew, and resumes anywhere. */
import type { InputMessage, Job, Output, TokenLogprob } from "@glimpse/contracts";
import { isTerminal } from "@glimpse/contracts";
import { Hono } from "hono";
import { z } from "zod";
import type { AppEnv } from "../../errors.ts";
import { tenantOf } from "../../tenant.ts";
import { validate } from "../../validate.ts";
import { goOn } from "../conversation.ts";
import type { Kind } from "../items.ts";
import { createItems, createSay } from "../items.ts";
import type { DoorDeps, DoorJob, Project, Teller } from "../project.ts";
import { formOf, jobOf, nameOf } from "../project.ts";
import { errorFrame, listOf, seconds, textPart } from "../shapes.ts";

const prefix = "resp_";
const retrieveQuery = z.object({
  stream: z.enum(["true", "false"]).default("false"),
  starting_after: z.coerce.number().int().min(-1).default(-1),
});
const itemsQuery = z.object({ order: z.enum(["asc", "desc"]).default("desc") });

export function responsesRoutes(project: Project, ledger: DoorDeps["ledger"]) {
  const app = new Hono<AppEnv>();

  app.post("/v1/responses", async (c) => {
    const submitted = await project.submit(c, "openai.responses", {
      complete: (taken) => goOn(ledger, tenantOf(c), taken, "previous_response_id", prefix),
    });
    const { job, asked } = submitted;
    if (asked?.stream) return project.stream(c, submitted, formOf(teller(submitted, -1)));
    if (asked?.background) return c.json(responseOf(submitted));
    return c.json(responseOf({ job: await project.awaitSuccess(c, job), asked }));
  });

  app.get("/v1/responses/:id", async (c) => {
    const { stream, starting_after } = validate(retrieveQuery, c.req.query());
    const found = await project.read(c, jobOf(prefix, c.req.param("id")));
    if (stream === "false") return c.json(responseOf(found));
    // Whoever reads again has not come to cancel.
    const asked = found.asked && { ...found.asked, background: true };
    return project.stream(c, { ...found, asked }, formOf(teller(found, starting_after)));
  });

  app.post("/v1/responses/:id/cancel", async (c) => {
    const { job, asked } = await project.read(c, jobOf(prefix, c.req.param("id")));
    return c.json(responseOf({ job: await project.cancel(c, job.id), asked }));
  });

  app.delete("/v1/responses/:id", async (c) => {
    const id = c.req.param("id");
    await project.remove(c, jobOf(prefix, id));
    return c.json({ id, object: "response", deleted: true });
  });

  app.get("/v1/responses/:id/input_items", async (c) => {
    const { order } = validate(itemsQuery, c.req.query());
    const { job } = await project.read(c, jobOf(prefix, c.req.param("id")));
    const input = await ledger.readInput(job.id, tenantOf(c));
    const items = (input?.messages ?? []).map((message, i) => inputItem(message, job.id, i));
    return c.json(listOf(order === "asc" ? items : items.toReversed(), false));
  });

  return app;
}

/** The same for every response. */
const tooling = { tools: [], tool_choice: "auto", parallel_tool_calls: true };
const handling = { truncation: "disabled", service_tier: "default", store: true };

/** What a request need not say; what it has said is in the echo. */
const unled = { instructions: null, previous_response_id: null };
const unset = { temperature: null, top_p: null, max_output_tokens: null };

/** The job as it is. */
export function responseOf({ job, asked }: DoorJob) {
  const { id, output, usage, error, created_at, finished_at } = job;
  const code = job.state === "expired" ? "job_expired" : error?.code;
  const isCut = output?.finish_reason === "length";
  return {
    id: nameOf(prefix, id),
    object: "response",
    created_at: seconds(created_at),
    completed_at: job.state === "succeeded" && finished_at ? seconds(finished_at) : null,
    status: statusOf(job, isCut),
    background: asked?.background ?? false,
    error: error && { code, message: error.message },
    incomplete_details: isCut ? { reason: "max_output_tokens" } : null,
    model: job.model,
    output: output === null ? [] : itemsOf(id, output),
    usage: usage && {
      input_tokens: usage.prompt_tokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: usage.completion_tokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: usage.prompt_tokens + usage.completion_tokens,
    },
    metadata: job.metadata,
    text: { format: { type: "text" } },
    ...tooling,
    ...handling,
    reasoning: { effort: null, summary: null },
    ...unled,
    ...unset,
    ...asked?.echo,
  };
}

/** What a stream says after event `after`; what came before is numbered, and not said. */
function teller({ job, asked }: DoorJob, after: number): Teller {
  const nothing = { output: null, usage: null, error: null, finished_at: null };
  const start = responseOf({ job: { ...job, ...nothing, state: "queued" }, asked });
  const say = createSay(after);
  const placeOf = (kind: Kind, output_index: number) => {
    return { item_id: itemId(kind, job.id), output_index, content_index: 0 };
  };
  const told = (kind: Kind, logprobs: TokenLogprob[] = []) => kind === "output" && { logprobs };
  let logprobs: TokenLogprob[] | undefined; // known at the end

  const items = createItems({
    opened(kind, output_index) {
      const part = partOf(kind, "");
      const item = { ...itemOf(kind, job.id, part), content: [], status: "in_progress" };
      const place = { ...placeOf(kind, output_index), part };
      const added = say("response.output_item.added", { output_index, item });
      return added + say("response.content_part.added", place);
    },
    piece(kind, index, delta) {
      const piece = { ...placeOf(kind, index), delta, ...told(kind) };
      return say(`response.${kind}_text.delta`, piece);
    },
    closed(kind, output_index, text) {
      const place = placeOf(kind, output_index);
      const part = partOf(kind, text, logprobs);
      const item = itemOf(kind, job.id, part);
      return (
        say(`response.${kind}_text.done`, { ...place, text, ...told(kind, logprobs) }) +
        say("response.content_part.done", { ...place, part }) +
        say("response.output_item.done", { output_index, item })
      );
    },
  });

  return {
    begin: () =>
      say("response.created", { response: start }) + say("response.queued", { response: start }),
    running: () => say("response.in_progress", { response: { ...start, status: "in_progress" } }),
    piece: (type, text) => items.add(type === "delta" ? "output" : "reasoning", text),
    end(event) {
      const { type: state, usage, error } = event;
      const finished_at = new Date(event.at_ms).toISOString();
      const ended = { ...job, state, output: event.output, usage, error, finished_at };
      const response = responseOf({ job: ended, asked });
      if (state !== "succeeded") return say("response.failed", { response });
      logprobs = event.output?.logprobs;
      return items.finish() + say(`response.${response.status}`, { response });
    },
    refuse: errorFrame,
  };
}

const itemId = (kind: Kind, id: string) => nameOf(kind === "output" ? "msg_" : "rs_", id);

function partOf(kind: Kind, text: string, logprobs: TokenLogprob[] = []) {
  return kind === "output"
    ? { type: "output_text", text, annotations: [], logprobs }
    : { type: "reasoning_text", text };
}

function itemOf(kind: Kind, id: string, part: object) {
  const members = { id: itemId(kind, id), status: "completed", content: [part] };
  return kind === "output"
    ? { ...members, type: "message", role: "assistant" }
    : { ...members, type: "reasoning", summary: [] };
}

function itemsOf(id: string, { reasoning, text, logprobs }: Output) {
  const thoughts =
    reasoning === null ? [] : [itemOf("reasoning", id, partOf("reasoning", reasoning))];
  return [...thoughts, itemOf("output", id, partOf("output", text, logprobs))];
}

/** A picture is not shown again: it is kept for the worker only. */
function inputItem({ role, content }: InputMessage, id: string, index: number) {
  const parts = typeof content === "string" ? [textPart(content)] : content;
  const type = role === "assistant" ? "output_text" : "input_text";
  const picture = { type: "input_image", image_url: null, file_id: null, detail: "auto" };
  const shown = parts.map((part) => (part.type === "text" ? { type, text: part.text } : picture));
  const item = { id: `${nameOf("msg_", id)}_${index}`, type: "message", status: "completed" };
  return { ...item, role, content: shown };
}

function statusOf({ state }: Job, isCut: boolean): string {
  if (!isTerminal(state)) return state === "queued" ? "queued" : "in_progress";
  if (state === "succeeded") return isCut ? "incomplete" : "completed";
  return state === "canceled" ? "cancelled" : "failed";
}
