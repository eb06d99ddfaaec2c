/** From errors to the one body that clients get. What we did not throw on purpose never shows its text. */
import { errorCodes, problemOf } from "@glimpse/contracts";
import { isRedisUnavailable } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import type { Context } from "hono";
import type { RequestIdVariables } from "hono/request-id";
import { ApiError } from "./api-error.ts";

export type AppEnv = { Variables: RequestIdVariables };

/** Hono's error handler: logs what is ours, hides what is not the client's. */
export function createErrorHandler(log: Logger) {
  return function onError(error: Error, c: Context<AppEnv>): Response {
    if (error instanceof ApiError) return problemResponse(c, error);
    const request_id = c.get("requestId");
    if (isRedisUnavailable(error)) {
      log.warn({ error, request_id }, "redis is not available");
      return problemResponse(
        c,
        new ApiError("unavailable", "The queue cannot be reached. Try again."),
      );
    }
    log.error({ error, request_id }, "request failed");
    return problemResponse(c, new ApiError("internal_error", "Something went wrong on our side."));
  };
}

function problemResponse(c: Context<AppEnv>, { code, message, param }: ApiError): Response {
  const { status, retryable } = errorCodes[code];
  if (status === 503) c.header("Retry-After", "1");
  c.header("x-should-retry", String(retryable));
  c.header("Content-Type", "application/problem+json");
  const body = problemOf(code, message, param, c.get("requestId"));
  return c.body(JSON.stringify(body), status);
}
