import { Webhook } from "standardwebhooks";
import { expect, test } from "vitest";
import { InvalidWebhook, verifyWebhook } from "./webhook.ts";

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr";
const other = "whsec_AAAQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr";

function signed(body: string, by = secret, at = new Date()): Record<string, string> {
  return {
    "Webhook-Id": "evt_1",
    "Webhook-Timestamp": `${Math.floor(at.getTime() / 1_000)}`,
    "Webhook-Signature": new Webhook(by).sign("evt_1", at, body),
  };
}

const body = JSON.stringify({
  type: "job.succeeded",
  timestamp: "2026-01-01T00:00:00.000Z",
  payload: "thin",
  event: 3,
  data: { id: "job_0_1", more: 1 },
});

test("a genuine delivery is read, whatever the headers' case, with unknown fields kept", () => {
  expect(verifyWebhook(body, signed(body), secret).data).toEqual({ id: "job_0_1", more: 1 });
  expect(verifyWebhook(body, new Headers(signed(body)), [other, secret]).type).toBe(
    "job.succeeded",
  );
});

test.each([
  ["another secret", body, signed(body, other)],
  ["an altered body", `${body} `, signed(body)],
  ["an old delivery", body, signed(body, secret, new Date(Date.now() - 6 * 60_000))],
  ["one from the future", body, signed(body, secret, new Date(Date.now() + 6 * 60_000))],
  ["no headers", body, {}],
  ["a signed text that is no JSON", "hello", signed("hello")],
  ["a signed JSON that is no delivery", "{}", signed("{}")],
])("%s is refused", (_what, text, headers) => {
  expect(() => verifyWebhook(text, headers, secret)).toThrow(InvalidWebhook);
});
