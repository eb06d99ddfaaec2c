/** One try: signs a message and sends it through the guarded way out. Judges nothing. */
import type { DeliveryTry } from "@glimpse/contracts";
import type { OutboundPolicy } from "@glimpse/outbound";
import { fetchOutside, OutboundError } from "@glimpse/outbound";
import { Webhook } from "standardwebhooks";

/** `id` is the same at every try; each of `secrets` signs. */
type Message = { id: string; url: string; body: string; secrets: string[] };

/** `retryAfterMs`: how long the answer asks to be left alone. */
export type Sent = { tried: DeliveryTry; retryAfterMs: number | null };

export type Send = (message: Message) => Promise<Sent>;

/** Of the answer's body; more is not read. */
const answerBytes = 512;

/** Headers and signature as Standard Webhooks has them: https://www.standardwebhooks.com. */
export function createSend(options: { policy: OutboundPolicy; timeoutMs: number }): Send {
  return async function send({ id, url, body, secrets }) {
    const now = new Date();
    const startedAt = performance.now();
    const seen = { status: null as number | null, error: null as string | null, answer: "" };
    let retryAfter: string | undefined;
    try {
      const answer = await fetchOutside(url, {
        policy: options.policy,
        method: "POST",
        headers: {
          "content-type": "application/json",
          "user-agent": "Glimpse-Webhooks/1",
          "webhook-id": id,
          "webhook-timestamp": String(Math.floor(now.getTime() / 1_000)),
          "webhook-signature": secrets
            .map((secret) => new Webhook(secret).sign(id, now, body))
            .join(" "),
        },
        body,
        deadlineMs: options.timeoutMs,
        maxBytes: answerBytes,
        overflow: "cut",
        maxRedirects: 0,
      });
      seen.status = answer.status;
      seen.error = errorOf(answer.status);
      seen.answer = Buffer.from(answer.body).toString("utf8");
      retryAfter = answer.headers["retry-after"];
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error;
      seen.error = error.reason;
    }
    const tried = {
      at: now.toISOString(),
      ...seen,
      latency_ms: Math.round(performance.now() - startedAt),
    };
    return { tried, retryAfterMs: retryAfter === undefined ? null : readRetryAfter(retryAfter) };
  };
}

/** Seconds, or a date (RFC 9110, 10.2.3); null when it is neither. */
export function readRetryAfter(value: string): number | null {
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1_000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, at - Date.now());
}

function errorOf(status: number): string | null {
  if (status >= 200 && status < 300) return null;
  return status >= 300 && status < 400 ? "redirect" : "bad_status";
}
