/** A refusal that the client shall read. */
import type { ErrorCode } from "@glimpse/contracts";

/** A code of the table, what is wrong, with which field (a dotted path), and when to try again if that is known. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly code: ErrorCode;
  readonly param: string | null;
  readonly retryAfterMs: number | null;
  constructor(
    code: ErrorCode,
    message: string,
    param: string | null = null,
    retryAfterMs: number | null = null,
  ) {
    super(message);
    this.code = code;
    this.param = param;
    this.retryAfterMs = retryAfterMs;
  }
}
