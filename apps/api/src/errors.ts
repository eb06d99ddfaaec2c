/** From errors to the one body that clients get. What we did not throw on purpose never shows its text. */
import type { Scope } from "@glimpse/contracts";
import { errorCodes, problemOf } from "@glimpse/contracts";
import { BlobError, isRedisUnavailable } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { ApiError } from "./api-error.ts";
import type { Caller } from "./auth/caller.ts";
import type { ApiMetrics } from "./metrics.ts";

/**
 * `outgoing` is there when a server stands behind the app; `address` is the client's, null without one; `needs` are the scopes
 * that the request's route needs.
 */
export type AppEnv = {
  Bindings: Partial<HttpBindings>;
  Variables: {
    requestId: string;
    address: string | null;
    needs: Scope[];
    caller: Caller;
    isEventStream?: boolean;
    auditTarget?: string;
  };
};

/** Hono's error handler: logs what is ours, hides what is not the client's. */
export function createErrorHandler(log: Logger, metrics: Pick<ApiMetrics, "countRefusal">) {
  return function onError(error: Error, c: Context<AppEnv>): Response {
    const request_id = c.get("requestId");
    const refusal = refusalOf(error);
    if (refusal !== null) {
      metrics.countRefusal(refusal.code);
      if (refusal !== error) log.warn({ error, request_id }, "cannot serve just now");
      return problemResponse(c, refusal);
    }
    log.error({ error, request_id }, "request failed");
    return problemResponse(c, new ApiError("internal_error", "Something went wrong on our side."));
  };
}

/** What to tell the client when the request is refused, or when what we stand on does not serve just now; null for a defect of ours. */
export function refusalOf(error: unknown): ApiError | null {
  if (error instanceof ApiError) return error;
  if (isRedisUnavailable(error)) {
    return new ApiError("unavailable", "The queue cannot be reached. Try again.");
  }
  if (!(error instanceof BlobError)) return null;
  return error.reason === "full"
    ? new ApiError("storage_full", "There is no room for more pictures. Try again later.")
    : new ApiError("unavailable", "Pictures cannot be kept just now. Try again.");
}

/** A refusal as HTTP has it, wherever it is sent from. */
export function problemParts(refusal: ApiError, requestId: string) {
  const { code, message, param, retryAfterMs } = refusal;
  const { status, retryable } = errorCodes[code];
  const retryAfter = String(Math.max(1, Math.ceil((retryAfterMs ?? 0) / 1_000)));
  const headers = {
    "Content-Type": "application/problem+json",
    "x-should-retry": String(retryable),
    ...((status === 503 || status === 429) && { "Retry-After": retryAfter }),
  };
  return { status, headers, body: JSON.stringify(problemOf(code, message, param, requestId)) };
}

function problemResponse(c: Context<AppEnv>, refusal: ApiError): Response {
  const { status, headers, body } = problemParts(refusal, c.get("requestId"));
  return c.body(body, status, headers);
}
