/** From a request's body to a recorded and enqueued job. */
import type { Ledger, Queues } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import { ApiError } from "./api-error.ts";
import type { Intake } from "./intake.ts";

export type AcceptDeps = {
  ledger: Ledger;
  queues: Queues;
  takeIn: Intake;
  served: { model: string; version: string };
  log: Logger;
};

/** The returned function resolves to the job's id once the job cannot be lost any more. Throws ApiErrors. */
export function createAccept({ ledger, queues, takeIn, served, log }: AcceptDeps) {
  return async function accept(
    bytes: Uint8Array<ArrayBuffer>,
    contentType: string,
    tenant: string,
  ): Promise<string> {
    const { model, input, metadata } = await takeIn(bytes, contentType);
    if (model !== null && model !== served.model && model !== served.version) {
      throw new ApiError("model_not_found", `There is no model ${model}; see /v1/models.`, "model");
    }
    const { id, outcome } = await ledger.submit({ tenant, ...served, input, metadata });
    if (outcome !== "created") return id;
    try {
      await queues.enqueue({ id, version: served.version });
      await ledger.clearPending(id);
    } catch (error) {
      // The record is safe and marked as pending: the sweep enqueues it.
      log.warn({ error, job: id }, "recorded but not enqueued");
    }
    return id;
  };
}
