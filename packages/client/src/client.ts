/** The native API, typed by its contracts. Every answer is held to its schema; nothing is submitted twice. */
import type { Gap, Job, JobEvent, JobList, submission } from "@glimpse/contracts";
import { isTerminal, job, jobList } from "@glimpse/contracts";
import type { z } from "zod";
import { GlimpseError, unreachable } from "./errors.ts";
import { readEvents } from "./events.ts";
import type { HttpOptions } from "./http.ts";
import { createHttp } from "./http.ts";

export type ClientOptions = HttpOptions;
export type Client = ReturnType<typeof createClient>;

/** What to ask: `prompt` or `messages`, pictures, settings. */
export type Question = z.input<typeof submission>;

type Waiting = {
  /** Gives up with the signal's reason; the job goes on. */
  signal?: AbortSignal;
};

export type Submitting = Waiting & {
  /** The same key and question always give the same job; a random one if missing, which makes the retries of one call safe. */
  idempotencyKey?: string;
};

export type ListQuery = {
  state?: Job["state"][];
  createdAfter?: Date;
  createdBefore?: Date;
  metadata?: Record<string, string>;
  limit?: number;
  cursor?: string;
};

const longPollS = 30;

/** Throws GlimpseErrors, from all its functions. */
export function createClient(options: ClientOptions) {
  const http = createHttp(options);

  /** Starts a job and returns it as accepted. */
  async function submit(question: Question, { idempotencyKey, signal }: Submitting = {}) {
    const headers = { "Idempotency-Key": idempotencyKey ?? crypto.randomUUID() };
    const request = { method: "POST", body: question, headers, signal };
    return parse(job, await http.call("/v1/jobs", request));
  }

  /** The job as it is now. */
  async function get(id: string, { signal }: Waiting = {}): Promise<Job> {
    return parse(job, await http.call(`/v1/jobs/${encodeURIComponent(id)}`, { signal }));
  }

  /** The job once it has ended, however: look at its `state`. */
  async function wait(id: string, { signal }: Waiting = {}): Promise<Job> {
    const path = `/v1/jobs/${encodeURIComponent(id)}?wait=${longPollS}`;
    for (;;) {
      const found = parse(job, await http.call(path, { signal }));
      if (isTerminal((await found).state)) return found;
    }
  }

  /** Submits, and waits for the end. */
  async function run(question: Question, settings: Submitting = {}): Promise<Job> {
    const started = await submit(question, settings);
    return isTerminal(started.state) ? started : wait(started.id, settings);
  }

  /**
   * The job's events after number `after` (-1: all) until its end, each once and in order, over as many connections as it
   * takes. A `gap` stands for events that are no longer kept. Kinds of a later release are left out.
   */
  function stream(
    id: string,
    { after = -1, signal }: Waiting & { after?: number } = {},
  ): AsyncGenerator<JobEvent | Gap> {
    return readEvents(http, `/v1/jobs/${encodeURIComponent(id)}/events`, after, signal);
  }

  /** Asks for the job's end; an ended job stays as it is. */
  async function cancel(id: string, { signal }: Waiting = {}): Promise<Job> {
    const path = `/v1/jobs/${encodeURIComponent(id)}/cancel`;
    return parse(job, await http.call(path, { method: "POST", signal }));
  }

  /** Removes an ended job, its log and its answer. One that is gone already is no error. */
  async function remove(id: string, { signal }: Waiting = {}): Promise<void> {
    const path = `/v1/jobs/${encodeURIComponent(id)}`;
    try {
      await (await http.call(path, { method: "DELETE", signal })).body?.cancel();
    } catch (error) {
      if (!(error instanceof GlimpseError) || error.code !== "job_not_found") throw error;
    }
  }

  /** A page of one's jobs, the newest first. */
  async function list(query: ListQuery = {}, { signal }: Waiting = {}): Promise<JobList> {
    return parse(jobList, await http.call(`/v1/jobs?${queryOf(query).toString()}`, { signal }));
  }

  return { submit, get, wait, run, stream, cancel, remove, list };
}

async function parse<T>(schema: z.ZodType<T>, response: Response): Promise<T> {
  const body: unknown = await response.json().catch((cause: unknown) => {
    throw unreachable(cause);
  });
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const facts = { status: response.status, code: "unexpected_answer", retryable: false };
  throw new GlimpseError("The API's answer is not what its contract says.", facts, parsed.error);
}

function queryOf(query: ListQuery): URLSearchParams {
  const { state = [], createdAfter, createdBefore, metadata = {}, limit, cursor } = query;
  const entries = [
    ...state.map((name) => ["state", name]),
    ...Object.entries(metadata).map(([name, value]) => [`metadata[${name}]`, value]),
    ["created_after", createdAfter?.toISOString()],
    ["created_before", createdBefore?.toISOString()],
    ["limit", limit?.toString()],
    ["cursor", cursor],
  ].filter((entry): entry is [string, string] => entry[1] !== undefined);
  return new URLSearchParams(entries);
}
