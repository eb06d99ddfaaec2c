/** A job as its log tells it: everything that a client sees of a job that was accepted here and ran to its end. Knows no Redis. */
import type { Job } from "@glimpse/contracts";
import { jobEvent } from "@glimpse/contracts";

/** What was said of a job when it was accepted. */
export type Accepted = Pick<Job, "id" | "model" | "version" | "priority" | "metadata"> & {
  deadlineMs: number;
  createdAtMs: number;
};

/** The same as the ledger would read; null when the job's last event (JSON) does not tell all. */
export function endedJob(accepted: Accepted, lastJson: string): Job | null {
  const event = jobEvent.safeParse(JSON.parse(lastJson)).data;
  // One that was answered without being run, or has ended otherwise, has more to tell.
  if (event?.type !== "succeeded" || event.timings.queue_ms === null) return null;
  const { id, model, version, priority, metadata, deadlineMs, createdAtMs } = accepted;
  const self = `/v1/jobs/${id}`;
  return {
    id,
    object: "job",
    state: event.type,
    model,
    version,
    created_at: iso(createdAtMs),
    started_at: iso(createdAtMs + event.timings.queue_ms),
    finished_at: iso(event.at_ms),
    deadline_at: iso(createdAtMs + deadlineMs),
    priority,
    queue: null,
    output: event.output,
    usage: event.usage,
    timings: event.timings,
    error: event.error,
    attempt: event.attempt,
    reused: false,
    metadata,
    links: { self, events: `${self}/events`, cancel: `${self}/cancel` },
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
