/** A refusal that the client shall read. */
import type { ErrorCode } from "@glimpse/contracts";

/** A code of the table, what is wrong, and with which field (a dotted path). */
export class ApiError extends Error {
  override name = "ApiError";
  readonly code: ErrorCode;
  readonly param: string | null;
  constructor(code: ErrorCode, message: string, param: string | null = null) {
    super(message);
    this.code = code;
    this.param = param;
  }
}
