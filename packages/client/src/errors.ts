/** What can go wrong, in one class: a refusal by the API, or that it could not be reached. */
import { z } from "zod";

/** The members of the API's error body that a client acts on; a proxy in between may answer with none of them. */
const refusal = z.object({
  code: z.string(),
  detail: z.string(),
  param: z.string().nullable().default(null),
  retryable: z.boolean().default(false),
});

type Facts = {
  status: number;
  code: string;
  param?: string | null;
  retryable: boolean;
  requestId?: string | null;
  retryAfterMs?: number | null;
};

export class GlimpseError extends Error {
  override readonly name = "GlimpseError";
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** A stable code of the API; `unreachable` without an answer, `http_<status>` when the answer was not the API's. */
  readonly code: string;
  /** The field that is wrong, as a dotted path. */
  readonly param: string | null;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** What to name when asking for help. */
  readonly requestId: string | null;
  /** How long the API asks to wait. */
  readonly retryAfterMs: number | null;

  constructor(message: string, facts: Facts, cause?: unknown) {
    super(message, { cause });
    this.status = facts.status;
    this.code = facts.code;
    this.param = facts.param ?? null;
    this.retryable = facts.retryable;
    this.requestId = facts.requestId ?? null;
    this.retryAfterMs = facts.retryAfterMs ?? null;
  }
}

/** For a request that got no answer, or half of one. */
export function unreachable(cause: unknown): GlimpseError {
  const message = "The API does not answer.";
  return new GlimpseError(message, { status: 0, code: "unreachable", retryable: true }, cause);
}

/** Reads an answer that is not 2xx. */
export async function errorOf(response: Response): Promise<GlimpseError> {
  const { status, headers } = response;
  const body = refusal.safeParse(await response.json().catch(() => null));
  const facts = body.success
    ? body.data
    : { code: `http_${status}`, detail: `The API answered with status ${status}.` };
  const isWorthwhile = status === 408 || status === 429 || status >= 500;
  const advice = headers.get("x-should-retry");
  return new GlimpseError(facts.detail, {
    status,
    code: facts.code,
    param: "param" in facts ? facts.param : null,
    retryable: advice === null ? isWorthwhile : advice === "true",
    requestId: headers.get("x-request-id"),
    retryAfterMs: readRetryAfter(headers.get("retry-after")),
  });
}

/** Seconds or an HTTP date, in milliseconds from now. */
function readRetryAfter(text: string | null): number | null {
  if (text === null) return null;
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
