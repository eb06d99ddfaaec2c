/** One call to the API, tried again when that is safe and may help. Knows HTTP, not jobs. */
import { errorOf, GlimpseError, unreachable } from "./errors.ts";

export type HttpOptions = {
  /** Where the API is, such as `http://127.0.0.1:8080`. */
  baseUrl: string;
  /** An API key or a token; none on a machine of one's own. */
  apiKey?: string;
  /** How often a call is tried again; 4 if missing. */
  maxRetries?: number;
  fetch?: typeof fetch;
};

export type Call = {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
};

export type Http = ReturnType<typeof createHttp>;

const firstPauseMs = 250;
const maxPauseMs = 10_000;
const defaultRetries = 4;

/**
 * `call` resolves to an answer with status 2xx. Throws GlimpseError, or the signal's reason. Every call is tried again, so a
 * call that changes something must be one that may be repeated: the submitting ones carry an idempotency key.
 */
export function createHttp(options: HttpOptions) {
  const { apiKey, maxRetries = defaultRetries, fetch: send = fetch } = options;
  const base = options.baseUrl.replace(/\/+$/, "");

  async function callOnce(path: string, { method = "GET", body, headers, signal }: Call) {
    const response = await send(`${base}${path}`, {
      method,
      headers: {
        ...(apiKey !== undefined && { Authorization: `Bearer ${apiKey}` }),
        ...(body !== undefined && { "Content-Type": "application/json" }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal && { signal }),
    }).catch((cause: unknown) => {
      signal?.throwIfAborted();
      throw unreachable(cause);
    });
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  async function call(path: string, request: Call = {}): Promise<Response> {
    for (let tries = 0; ; tries++) {
      try {
        return await callOnce(path, request);
      } catch (error) {
        if (!(error instanceof GlimpseError) || !error.retryable || tries >= maxRetries)
          throw error;
        await pause(tries, error.retryAfterMs, request.signal);
      }
    }
  }

  return { call, callOnce, maxRetries };
}

/** Waits twice as long each time, not in step with others, and never less than was asked for. */
export async function pause(
  tries: number,
  askedMs: number | null,
  signal?: AbortSignal,
): Promise<void> {
  const longestMs = Math.min(maxPauseMs, firstPauseMs * 2 ** tries);
  const ms = Math.max(askedMs ?? 0, longestMs * (0.5 + Math.random() / 2));
  signal?.throwIfAborted();
  await new Promise<void>((resolve) => {
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end, { once: true });
    function end() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    }
  });
  signal?.throwIfAborted();
}
