import { inspect } from "node:util";

/** Every way the engine refuses. Codes are stable and public; messages name the thing and the limit, never a library's text. */
export type EngineErrorCode =
  | "invalid_image" // undecodable or truncated
  | "unsupported_image_media_type"
  | "image_too_small"
  | "image_too_large"
  | "image_aspect_ratio"
  | "too_many_images"
  | "invalid_request" // a field out of its range
  | "invalid_prompt"
  | "context_too_long"
  | "deadline_exceeded"
  | "invalid_checkpoint" // a file missing, a tensor of the wrong shape
  | "unsupported_architecture"
  | "engine_failure"; // the runtime broke

export class EngineError extends Error {
  override name = "EngineError";
  readonly code: EngineErrorCode;
  constructor(code: EngineErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The device has no memory for this call. Smaller ones may still succeed; any other `engine_failure` of a runner is final. */
export class AllocationError extends EngineError {
  override name = "AllocationError";
  constructor(message: string, options?: ErrorOptions) {
    super("engine_failure", message, options);
  }
}

/** An error as another thread can be told it. `cause` is for a log. */
export type ErrorWords = { code: EngineErrorCode; message: string; cause?: string };

/** Our words; what is not ours becomes `engine_failure` with `unknown` for its message. */
export function errorWords(error: unknown, unknown = "the engine broke"): ErrorWords {
  if (!(error instanceof EngineError))
    return { code: "engine_failure", message: unknown, cause: inspect(error) };
  const { code, message, cause } = error;
  return { code, message, ...(cause !== undefined && { cause: inspect(cause) }) };
}

export function errorFrom({ code, message, cause }: ErrorWords): EngineError {
  return new EngineError(code, message, cause === undefined ? {} : { cause: new Error(cause) });
}

/** `least` tokens were counted before giving up; the prompt may have more. */
export function contextTooLong(least: number, context: number): EngineError {
  const message = `the prompt has at least ${least} tokens; the model's context is ${context}, answer included`;
  return new EngineError("context_too_long", message);
}

export function deadlineExceeded(): EngineError {
  return new EngineError("deadline_exceeded", "the deadline passed before the answer was complete");
}
