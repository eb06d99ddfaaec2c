/** `/v1/responses`: a job in the words of OpenAI's responses. Its event stream is its log, numbered anew, and resumes anywhere. */
import type { Asked, InputMessage, Job, Output, TokenLogprob } from "@glimpse/contracts";
import { isTerminal } from "@glimpse/contracts";
import { Hono } from "hono";
import { z } from "zod";
import { ApiError } from "../../api-error.ts";
import type { AppEnv } from "../../errors.ts";
import type { TakenIn } from "../../intake.ts";
import { tenantOf } from "../../tenant.ts";
import { validate } from "../../validate.ts";
import type { DoorDeps, DoorJob, Project, Teller } from "../project.ts";
import { formOf, jobOf, nameOf } from "../project.ts";
import { errorOf } from "./errors.ts";

const prefix = "resp_";
const retrieveQuery = z.object({
  stream: z.enum(["true", "false"]).default("false"),
  starting_after: z.coerce.number().int().min(-1).default(-1),
});
const itemsQuery = z.object({ order: z.enum(["asc", "desc"]).default("desc") });

export function responsesRoutes(project: Project, { ledger }: Pick<DoorDeps, "ledger">) {
  const app = new Hono<AppEnv>();

  app.post("/v1/responses", async (c) => {
    const submitted = await project.submit(c, "openai.responses", {
      complete: (taken) => goOn(taken, tenantOf(c)),
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
    const data = order === "asc" ? items : items.toReversed();
    const ends = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
    return c.json({ object: "list", data, ...ends, has_more: false });
  });

  /** Puts what was said before in front of a question that goes on from it; its instructions are not. */
  async function goOn(taken: TakenIn, tenant: string): Promise<TakenIn> {
    const name = taken.asked?.echo["previous_response_id"];
    if (typeof name !== "string") return taken;
    const id = jobOf(prefix, name) ?? "";
    const [said, before] = await Promise.all([
      ledger.readAsked(id, tenant),
      ledger.readInput(id, tenant),
    ]);
    const text = said?.job.output?.text;
    if (before === null || text === undefined) {
      const message = "There is no answer of that name to go on from.";
      throw new ApiError("job_not_found", message, "previous_response_id");
    }
    const isInstructed = (asked: Asked | null | undefined) => asked?.echo["instructions"] != null;
    const earlier = before.messages.slice(isInstructed(said?.asked) ? 1 : 0);
    const { messages } = taken.input;
    const first = isInstructed(taken.asked) ? messages.slice(0, 1) : [];
    const answer = { role: "assistant" as const, content: text };
    const all = [...first, ...earlier, answer, ...messages.slice(first.length)];
    return { ...taken, input: { ...taken.input, messages: all } };
  }

  return app;
}

/** The job as it is. */
export function responseOf({ job, asked }: DoorJob) {
  const { id, output, usage, error, created_at, finished_at } = job;
  const isCut = output?.finish_reason === "length";
  return {
    id: nameOf(prefix, id),
    object: "response",
    created_at: seconds(created_at),
    completed_at: job.state === "succeeded" && finished_at ? seconds(finished_at) : null,
    status: statusOf(job, isCut),
    background: asked?.background ?? false,
    error: error && {
      code: job.state === "expired" ? "job_expired" : error.code,
      message: error.message,
    },
    incomplete_details: isCut ? { reason: "max_output_tokens" } : null,
    instructions: null,
    max_output_tokens: null,
    model: job.model,
    output: output === null ? [] : itemsOf(id, output),
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    service_tier: "default",
    store: true,
    temperature: null,
    text: { format: { type: "text" } },
    tool_choice: "auto",
    tools: [],
    top_p: null,
    truncation: "disabled",
    usage: usage && {
      input_tokens: usage.prompt_tokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: usage.completion_tokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: usage.prompt_tokens + usage.completion_tokens,
    },
    metadata: job.metadata,
    ...asked?.echo,
  };
}

/** What a stream says after event `after`; what came before is numbered, and not said. */
function teller({ job, asked }: DoorJob, after: number): Teller {
  const start = responseOf({
    job: { ...job, state: "queued", output: null, usage: null, error: null, finished_at: null },
    asked,
  });
  const running = { ...start, status: "in_progress" };
  const output: object[] = [];
  let number = 0;
  let isRunning = false;
  let open: { kind: Kind; text: string } | null = null;

  function say(type: string, members: object): string {
    const sequence_number = number++;
    if (sequence_number <= after) return "";
    const data = JSON.stringify({ type, sequence_number, ...members });
    return `event: ${type}\ndata: ${data}\n\n`;
  }

  function run(): string {
    if (isRunning) return "";
    isRunning = true;
    return say("response.in_progress", { response: running });
  }

  function place(kind: Kind) {
    return { item_id: itemId(kind, job.id), output_index: output.length, content_index: 0 };
  }

  function openItem(kind: Kind): string {
    open = { kind, text: "" };
    const { content_index, ...at } = place(kind);
    const item = { ...itemOf(kind, job.id, ""), content: [], status: "in_progress" };
    const added = say("response.output_item.added", { output_index: at.output_index, item });
    const part = partOf(kind, "");
    return added + say("response.content_part.added", { ...at, content_index, part });
  }

  function closeItem(logprobs?: TokenLogprob[]): string {
    if (open === null) return "";
    const { kind, text } = open;
    open = null;
    const at = place(kind);
    const item = itemOf(kind, job.id, text, logprobs);
    const done = { ...at, text, ...(kind === "output" && { logprobs: logprobs ?? [] }) };
    output.push(item);
    return (
      say(`response.${kind}_text.done`, done) +
      say("response.content_part.done", { ...at, part: partOf(kind, text, logprobs) }) +
      say("response.output_item.done", { output_index: at.output_index, item })
    );
  }

  return {
    begin: () =>
      say("response.created", { response: start }) + say("response.queued", { response: start }),
    running: run,
    piece(type, text) {
      const kind = type === "delta" ? "output" : "reasoning";
      const began = run() + (open?.kind === kind ? "" : closeItem() + openItem(kind));
      if (open) open.text += text;
      const delta = { ...place(kind), delta: text, ...(kind === "output" && { logprobs: [] }) };
      return began + say(`response.${kind}_text.delta`, delta);
    },
    end(event) {
      const { type: state, usage, error } = event;
      const finished_at = new Date(event.at_ms).toISOString();
      const ended = { ...job, state, output: event.output, usage, error, finished_at };
      const response = responseOf({ job: ended, asked });
      if (state !== "succeeded") return run() + say("response.failed", { response });
      const unsaid = output.length === 0 && open?.kind !== "output" ? "output" : null;
      const opened = run() + (unsaid ? closeItem() + openItem(unsaid) : "");
      const rest = opened + closeItem(event.output?.logprobs);
      return rest + say(`response.${response.status}`, { response });
    },
    refuse: (error) => `data: ${JSON.stringify({ error: errorOf(error) })}\n\n`,
  };
}

/** What the model says aloud, and what it thinks. */
type Kind = "output" | "reasoning";

const itemId = (kind: Kind, id: string) => nameOf(kind === "output" ? "msg_" : "rs_", id);

function partOf(kind: Kind, text: string, logprobs: TokenLogprob[] = []) {
  return kind === "output"
    ? { type: "output_text", text, annotations: [], logprobs }
    : { type: "reasoning_text", text };
}

function itemOf(kind: Kind, id: string, text: string, logprobs?: TokenLogprob[]) {
  const content = [partOf(kind, text, logprobs)];
  const members = { id: itemId(kind, id), status: "completed", content };
  return kind === "output"
    ? { ...members, type: "message", role: "assistant" }
    : { ...members, type: "reasoning", summary: [] };
}

function itemsOf(id: string, { reasoning, text, logprobs }: Output) {
  const thoughts = reasoning === null ? [] : [itemOf("reasoning", id, reasoning)];
  return [...thoughts, itemOf("output", id, text, logprobs)];
}

/** A picture is not shown again: it is kept for the worker only. */
function inputItem({ role, content }: InputMessage, id: string, index: number) {
  const parts = typeof content === "string" ? [{ type: "text" as const, text: content }] : content;
  const kind = role === "assistant" ? "output_text" : "input_text";
  const shown = parts.map((part) =>
    part.type === "text"
      ? { type: kind, text: part.text }
      : { type: "input_image", image_url: null, file_id: null, detail: "auto" },
  );
  return {
    id: `${nameOf("msg_", id)}_${index}`,
    type: "message",
    role,
    status: "completed",
    content: shown,
  };
}

function statusOf({ state }: Job, isCut: boolean): string {
  if (!isTerminal(state)) return state === "queued" ? "queued" : "in_progress";
  if (state === "succeeded") return isCut ? "incomplete" : "completed";
  return state === "canceled" ? "cancelled" : "failed";
}

function seconds(time: string): number {
  return Math.floor(Date.parse(time) / 1_000);
}
