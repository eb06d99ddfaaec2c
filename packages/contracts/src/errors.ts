/** One table for every refusal: what the client may rely on. Messages are free text; codes are not. */
import { z } from "zod";

type ErrorKind = { status: number; retryable: boolean; title: string };

export const errorCodes = {
  // The caller
  unauthenticated: { status: 401, retryable: false, title: "The credentials are not valid" },
  insufficient_scope: { status: 403, retryable: false, title: "The credentials do not allow this" },
  origin_not_allowed: {
    status: 403,
    retryable: false,
    title: "Pages of other origins may not ask this",
  },
  key_not_found: { status: 404, retryable: false, title: "There is no such key" },
  // The request as HTTP
  invalid_http: { status: 400, retryable: false, title: "The request is not valid HTTP" },
  request_timeout: { status: 408, retryable: true, title: "The request took too long to arrive" },
  headers_too_large: { status: 431, retryable: false, title: "The headers are too large" },
  expectation_failed: { status: 417, retryable: false, title: "The expectation cannot be met" },
  invalid_json: { status: 400, retryable: false, title: "The body is not valid JSON" },
  invalid_multipart: { status: 400, retryable: false, title: "The form cannot be read" },
  not_found: { status: 404, retryable: false, title: "There is nothing at this address" },
  method_not_allowed: {
    status: 405,
    retryable: false,
    title: "The address exists, the method does not",
  },
  body_too_large: { status: 413, retryable: false, title: "The body is too large" },
  unsupported_media_type: {
    status: 415,
    retryable: false,
    title: "The body's type is not supported",
  },
  // The request as a job
  invalid_request: { status: 422, retryable: false, title: "The request is not valid" },
  unknown_field: {
    status: 422,
    retryable: false,
    title: "The request has a field that does not exist",
  },
  unsupported_parameter: {
    status: 422,
    retryable: false,
    title: "The model cannot do what the request asks for",
  },
  invalid_prompt: { status: 422, retryable: false, title: "The prompt is empty or cannot be used" },
  context_too_long: {
    status: 422,
    retryable: false,
    title: "Prompt and pictures exceed the model's context",
  },
  job_not_found: { status: 404, retryable: false, title: "There is no such job" },
  job_deleted: { status: 410, retryable: false, title: "The job has been deleted" },
  job_canceled: { status: 409, retryable: false, title: "The job was canceled" },
  job_not_ended: { status: 409, retryable: false, title: "The job has not ended" },
  invalid_idempotency_key: {
    status: 400,
    retryable: false,
    title: "The idempotency key cannot be used",
  },
  idempotency_conflict: {
    status: 422,
    retryable: false,
    title: "The idempotency key was used for another request",
  },
  model_not_found: { status: 404, retryable: false, title: "There is no such model" },
  too_many_jobs: {
    status: 429,
    retryable: true,
    title: "There are too many jobs that have not ended",
  },
  // Webhooks
  invalid_webhook_url: { status: 422, retryable: false, title: "The webhook's URL cannot be used" },
  webhook_endpoint_not_found: {
    status: 404,
    retryable: false,
    title: "There is no such webhook endpoint",
  },
  webhook_endpoint_disabled: {
    status: 409,
    retryable: false,
    title: "The webhook endpoint is disabled",
  },
  too_many_webhook_endpoints: {
    status: 409,
    retryable: false,
    title: "There are too many webhook endpoints",
  },
  delivery_not_found: { status: 404, retryable: false, title: "There is no such delivery" },
  delivery_pending: { status: 409, retryable: false, title: "The delivery is still being tried" },
  too_many_bytes: {
    status: 429,
    retryable: true,
    title: "There is too much in requests and jobs that have not ended",
  },
  too_many_streams: { status: 429, retryable: true, title: "There are too many open streams" },
  rate_limited: { status: 429, retryable: true, title: "There are too many requests" },
  // Files and batches
  file_not_found: { status: 404, retryable: false, title: "There is no such file" },
  batch_not_found: { status: 404, retryable: false, title: "There is no such batch" },
  batch_canceled: { status: 409, retryable: false, title: "The batch was canceled" },
  batch_expired: { status: 504, retryable: false, title: "The batch's time was up" },
  // Pictures
  invalid_image: { status: 422, retryable: false, title: "The picture cannot be decoded" },
  unsupported_image_media_type: {
    status: 422,
    retryable: false,
    title: "The picture is not JPEG, PNG or WebP",
  },
  invalid_base64_image: {
    status: 422,
    retryable: false,
    title: "The picture's base64 is not valid",
  },
  invalid_image_url: { status: 422, retryable: false, title: "The picture's URL cannot be used" },
  failed_to_download_image: {
    status: 422,
    retryable: true,
    title: "The picture could not be downloaded",
  },
  empty_image_file: { status: 422, retryable: false, title: "The picture is empty" },
  image_file_too_large: { status: 413, retryable: false, title: "The picture's file is too large" },
  image_too_small: { status: 422, retryable: false, title: "The picture is too small" },
  image_too_large: { status: 422, retryable: false, title: "The picture has too many pixels" },
  image_aspect_ratio: { status: 422, retryable: false, title: "The picture is too long and thin" },
  image_too_many_frames: {
    status: 422,
    retryable: false,
    title: "The picture has too many frames",
  },
  too_many_images: { status: 422, retryable: false, title: "There are too many pictures" },
  // Our side
  invalid_checkpoint: { status: 500, retryable: false, title: "The model's files are damaged" },
  unsupported_architecture: { status: 500, retryable: false, title: "The model cannot be run" },
  deadline_exceeded: { status: 504, retryable: true, title: "The answer came too late" },
  engine_failure: { status: 500, retryable: true, title: "The engine failed" },
  worker_crashed: { status: 500, retryable: false, title: "The job crashed its workers" },
  stream_broken: {
    status: 500,
    retryable: true,
    title: "The answer cannot be told to its end in this stream",
  },
  internal_error: { status: 500, retryable: true, title: "Something went wrong on our side" },
  storage_full: {
    status: 503,
    retryable: true,
    title: "There is no room for more pictures just now",
  },
  overloaded: {
    status: 503,
    retryable: true,
    title: "There is more work than can be done in time",
  },
  model_unavailable: {
    status: 503,
    retryable: true,
    title: "The model does not serve just now",
  },
  unavailable: { status: 503, retryable: true, title: "The service is not available just now" },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorCodes;

export const errorCode = z.enum(Object.keys(errorCodes) as [ErrorCode, ...ErrorCode[]]);

/** Why a job failed. Codes of later releases are kept as they are. */
export const jobError = z
  .object({ code: z.string(), message: z.string(), retryable: z.boolean() })
  .meta({ id: "JobError" });
export type JobError = z.infer<typeof jobError>;

/** A job's error from its code; `retryable` comes from the table. */
export function jobErrorOf(code: ErrorCode, message: string): JobError {
  return { code, message, retryable: errorCodes[code].retryable };
}

/** RFC 9457 members and OpenAI's `error` object in one body, so that both kinds of client understand it. */
export const problem = z
  .object({
    type: z.string().meta({ description: "A URI reference that names the kind of problem" }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: errorCode.meta({
      description: Object.entries(errorCodes)
        .map(([code, { status, title }]) => `${code} (${status}): ${title}`)
        .join("; "),
    }),
    param: z.string().nullable().meta({ description: "The field that is wrong, as a dotted path" }),
    retryable: z.boolean(),
    request_id: z.string(),
    error: z.object({
      message: z.string(),
      type: z.enum(["invalid_request_error", "not_found_error", "server_error"]),
      code: errorCode,
      param: z.string().nullable(),
    }),
  })
  .meta({ id: "Problem" });
export type Problem = z.infer<typeof problem>;

/** The one error body, from a code of the table. */
export function problemOf(
  code: ErrorCode,
  detail: string,
  param: string | null,
  requestId: string,
): Problem {
  const { status, retryable, title } = errorCodes[code];
  const type =
    status >= 500 ? "server_error" : status === 404 ? "not_found_error" : "invalid_request_error";
  return {
    type: `urn:glimpse:problem:${code}`,
    title,
    status,
    detail,
    code,
    param,
    retryable,
    request_id: requestId,
    error: { message: detail, type, code, param },
  };
}
