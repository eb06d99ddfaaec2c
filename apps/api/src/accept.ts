/** From a request's body to a recorded and enqueued job. */
import type { Confirm, Ledger, Queues } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import { ApiError } from "./api-error.ts";
import type { Shares } from "./config.ts";
import type { Intake } from "./intake.ts";

export type AcceptDeps = {
  ledger: Ledger;
  queues: Queues;
  takeIn: Intake;
  /** Null: what Redis has taken is acknowledged. */
  confirm: Confirm | null;
  served: { model: string; version: string };
  shares: Shares;
  log: Logger;
};

/** `chosenId`: the id that the request has chosen for its job, or null for a new one. */
export type Submission = {
  bytes: Uint8Array<ArrayBuffer>;
  contentType: string;
  tenant: string;
  chosenId: string | null;
};

/** `isNew` is false when the same request had been accepted before. */
export type Accepted = { id: string; isNew: boolean };

/** The returned function resolves once the job cannot be lost any more. Throws ApiErrors. */
export function createAccept({ ledger, queues, takeIn, confirm, served, shares, log }: AcceptDeps) {
  return async function accept(submission: Submission): Promise<Accepted> {
    const accepted = await record(submission);
    if (confirm === null || (await confirm(accepted.id))) return accepted;
    const message = "The job is not safe yet: no replica of the queue answers. Send it again.";
    throw new ApiError("unavailable", message);
  };

  async function record({ bytes, contentType, tenant, chosenId }: Submission): Promise<Accepted> {
    const choice = chosenId === null ? null : { id: chosenId, tenant };
    const taken = await takeIn(bytes, contentType, choice);
    if (taken === "known") return { id: chosenId ?? "", isNew: false };
    const { model, input, metadata, fingerprint, priority = "normal" } = taken;
    if (model !== null && model !== served.model && model !== served.version) {
      throw new ApiError("model_not_found", `There is no model ${model}; see /v1/models.`, "model");
    }
    const chosen = chosenId !== null && fingerprint !== null && { id: chosenId, fingerprint };
    const standing = {
      priority,
      deadlineMs: taken.deadlineMs ?? shares.defaultDeadlineMs,
      weight: shares.weights[tenant] ?? 1,
      maxActive: shares.maxActive,
    };
    const job = { tenant, ...served, input, metadata, standing, ...(chosen && { chosen }) };
    const { id, outcome, place } = await ledger.submit(job);
    if (outcome === "conflict") {
      throw new ApiError(
        "idempotency_conflict",
        "Another request has used this id or idempotency key.",
      );
    }
    if (outcome === "deleted") {
      throw new ApiError("job_deleted", "This request was accepted before and its job deleted.");
    }
    if (outcome === "full") {
      const message = `There are ${shares.maxActive} jobs that have not ended. Wait for some of them.`;
      throw new ApiError("too_many_jobs", message);
    }
    if (outcome === "created") await enqueue(id, place);
    return { id, isNew: chosenId === null || outcome !== "existing" };
  }

  /** Its mark as pending stays until it is started, or until the sweep has seen that it is in the queue. */
  async function enqueue(id: string, place: number): Promise<void> {
    try {
      await queues.enqueue({ id, version: served.version }, place);
    } catch (error) {
      // The record is safe: the sweep enqueues it.
      log.warn({ error, job: id }, "recorded but not enqueued");
    }
  }
}
