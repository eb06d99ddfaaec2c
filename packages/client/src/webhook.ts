/** For whoever receives webhooks: whether a delivery is genuine, and what it says. Give it the raw body, not a parsed one. */
import type { WebhookMessage } from "@glimpse/contracts";
import { webhookMessage } from "@glimpse/contracts";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

export class InvalidWebhook extends Error {
  override readonly name = "InvalidWebhook";
}

/**
 * Checks the signature and that it is less than five minutes old. `secrets`: the endpoint's, `whsec_...`; while one is being
 * replaced, both. Throws InvalidWebhook. The header `webhook-id` names the event: the same one may be delivered twice. `data`
 * depends on `type`, and later releases may add to both.
 */
export function verifyWebhook(
  body: string,
  headers: Headers | Record<string, string>,
  secrets: string | string[],
): WebhookMessage {
  const plain = headers instanceof Headers ? Object.fromEntries(headers) : lowerCased(headers);
  const isGenuine = [secrets].flat().some((secret) => isSignedWith(secret, body, plain));
  if (!isGenuine) throw new InvalidWebhook("Not signed with this secret, or too old.");
  const parsed = webhookMessage.safeParse(parseJson(body));
  if (!parsed.success) throw new InvalidWebhook("Signed, but not a delivery.");
  return parsed.data;
}

function isSignedWith(secret: string, body: string, headers: Record<string, string>): boolean {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    // It parses what it has verified, too.
    if (error instanceof SyntaxError) return true;
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function lowerCased(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
}
