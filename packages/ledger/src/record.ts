/** From the fields of a record in Redis to the job that clients see. */
import type { Job } from "@glimpse/contracts";
import { job } from "@glimpse/contracts";

export const recordFields = [
  "state",
  "model",
  "version",
  "created_at",
  "started_at",
  "finished_at",
  "deadline_at",
  "priority",
  "attempt",
  "metadata",
  "output",
  "usage",
  "timings",
  "error",
  "reused",
] as const;

type RecordField = (typeof recordFields)[number];

/** `values` in the order of `recordFields`, as HMGET gives them. Null when there is no record. */
export function parseRecord(id: string, values: (string | null)[]): Job | null {
  const field = (name: RecordField) => values[recordFields.indexOf(name)] ?? null;
  if (field("state") === null) return null;
  const self = `/v1/jobs/${id}`;
  return job.parse({
    id,
    object: "job",
    state: field("state"),
    model: field("model"),
    version: field("version"),
    created_at: time(field("created_at")),
    started_at: time(field("started_at")),
    finished_at: time(field("finished_at")),
    deadline_at: time(field("deadline_at")),
    priority: field("priority") ?? "normal",
    queue: null,
    output: json(field("output")),
    usage: json(field("usage")),
    timings: json(field("timings")) ?? {
      queue_ms: between(field("created_at"), field("started_at")),
      first_token_ms: null,
      total_ms: null,
    },
    error: json(field("error")),
    attempt: Number(field("attempt")),
    reused: field("reused") !== null,
    metadata: json(field("metadata")),
    links: { self, events: `${self}/events`, cancel: `${self}/cancel` },
  });
}

function time(ms: string | null): string | null {
  return ms === null ? null : new Date(Number(ms)).toISOString();
}

function between(fromMs: string | null, toMs: string | null): number | null {
  return fromMs === null || toMs === null ? null : Number(toMs) - Number(fromMs);
}

function json(text: string | null): unknown {
  return text === null ? null : JSON.parse(text);
}
