/** From a request's body to a recorded and queued job. */
import type { Dialect, Priority } from "@glimpse/contracts";
import type { Confirm, Ledger, Queues } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import type { Admission } from "./admission/admission.ts";
import { ApiError } from "./api-error.ts";
import type { Accepted } from "./ended-job.ts";
import type { Shares } from "./config.ts";
import type { Intake, TakenIn } from "./intake.ts";
import type { CheckWebhookUrl } from "./webhook-url.ts";

export type AcceptDeps = {
  ledger: Ledger;
  queues: Queues;
  admission: Admission;
  takeIn: Intake;
  checkWebhookUrl: CheckWebhookUrl;
  /** Null: what Redis has taken is acknowledged. */
  confirm: Confirm | null;
  served: { model: string; version: string };
  shares: Shares;
  log: Logger;
};

/** `isChosen`: the request itself has chosen the job's id, so that the job may be there already. */
export type Submission = {
  bytes: Uint8Array<ArrayBuffer>;
  contentType: string;
  tenant: string;
  id: string;
  isChosen: boolean;
  /** What the body is written in; our own if missing. */
  dialect?: Dialect;
  /** Where its client reached the API. */
  origin?: string;
  /** What a job has that does not say so itself. */
  fallback?: { priority?: Priority; deadlineMs?: number };
  /** Adds to the request what its body only names; may throw ApiErrors. */
  complete?: (taken: TakenIn) => Promise<TakenIn>;
};

/** The returned function resolves once the job cannot be lost any more, to what is new, or to null if it was there already. Throws ApiErrors. */
export function createAccept(deps: AcceptDeps) {
  const { ledger, admission, takeIn, confirm, checkWebhookUrl, served, shares } = deps;

  return async function accept(submission: Submission): Promise<Accepted | null> {
    const accepted = await record(submission);
    if (confirm === null || (await confirm(submission.id))) return accepted;
    const message = "The job is not safe yet: no replica of the queue answers. Send it again.";
    throw new ApiError("unavailable", message);
  };

  async function record({
    bytes,
    contentType,
    tenant,
    id,
    isChosen,
    dialect,
    origin,
    fallback = {},
    complete = async (known) => known,
  }: Submission): Promise<Accepted | null> {
    const choice = isChosen ? { id, tenant } : null;
    const understood = await takeIn(bytes, contentType, choice, { tenant, dialect });
    if (understood === "known") return null;
    const taken = await complete(understood);
    const {
      model,
      input,
      metadata,
      fingerprint,
      asked,
      priority = fallback.priority ?? "normal",
    } = taken;
    if (model !== null && model !== served.model && model !== served.version) {
      throw new ApiError("model_not_found", `There is no model ${model}; see /v1/models.`, "model");
    }
    const { webhook } = taken;
    if (webhook !== undefined) await checkWebhookUrl(webhook.url, "webhook.url");
    const { version } = served;
    const deadlineMs = taken.deadlineMs ?? fallback.deadlineMs ?? shares.defaultDeadlineMs;
    const standing = {
      priority,
      deadlineMs,
      weight: shares.weights[tenant] ?? 1,
      maxActive: shares.maxActive,
      maxActiveBytes: shares.maxActiveBytes,
      maxAhead: await admission.enter(version, deadlineMs),
    };
    const job = {
      tenant,
      ...served,
      input,
      metadata,
      bytes: taken.bytes,
      standing,
      ...(asked && { asked: { ...asked, ...(origin !== undefined && { origin }) } }),
      ...(webhook && { webhook }),
      chosen: { id, fingerprint: fingerprint ?? "" },
    };
    const { outcome, place, createdAtMs } = await ledger.submit(job);
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
    if (outcome === "heavy") {
      const message = `Jobs that have not ended may have ${shares.maxActiveBytes} bytes. Wait for some of them.`;
      throw new ApiError("too_many_bytes", message);
    }
    if (outcome === "overloaded") throw await admission.refuse(version, deadlineMs, place);
    if (isChosen && outcome === "existing") return null;
    return { id, ...served, priority, metadata, deadlineMs, createdAtMs };
  }
}
