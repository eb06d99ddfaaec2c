/** Whether a webhook may go to a URL: asked when it is said, and again by the courier each time it is used. */
import type { OutboundPolicy } from "@glimpse/outbound";
import { checkHost, checkUrl, OutboundError } from "@glimpse/outbound";
import { ApiError } from "./api-error.ts";

/** Throws ApiError `invalid_webhook_url`. A host that is not known just now passes unless it `mustBeKnown`: names come and go. */
export type CheckWebhookUrl = (url: string, param: string, mustBeKnown?: boolean) => Promise<void>;

const lookupMs = 2_000;

export function createCheckWebhookUrl(policy: OutboundPolicy): CheckWebhookUrl {
  return async function checkWebhookUrl(text, param, mustBeKnown = false) {
    const late = AbortSignal.timeout(lookupMs);
    try {
      await checkHost(checkUrl(text, policy), policy, late);
    } catch (error) {
      if (error instanceof OutboundError) {
        if (error.reason === "unreachable" && !mustBeKnown) return;
        throw new ApiError("invalid_webhook_url", `${param}: ${error.message}.`, param);
      }
      if (!late.aborted) throw error;
      if (mustBeKnown)
        throw new ApiError("invalid_webhook_url", `${param}: the host is not known.`, param);
    }
  };
}
