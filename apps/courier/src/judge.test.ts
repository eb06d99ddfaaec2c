import { expect, test } from "vitest";
import { isTrouble, judge } from "./judge.ts";
import { readRetryAfter } from "./send.ts";

const sent = (status: number | null, retryAfterMs: number | null = null) => ({
  tried: {
    at: new Date(0).toISOString(),
    status,
    error: status !== null && status < 300 ? null : "bad_status",
    latency_ms: 1,
    answer: "",
  },
  retryAfterMs,
});
const hour = 3_600_000;
const schedule = { delaysMs: [0, 5_000, 300_000], jitter: 0.2 };

test("the delay before the next try is the schedule's, give or take the jitter; after the last there is none", () => {
  expect(judge(sent(500), 0, schedule, 0)).toMatchObject({ state: "pending", delayMs: 4_000 });
  expect(judge(sent(500), 0, schedule, 0.5)).toMatchObject({ delayMs: 5_000 });
  expect(judge(sent(null), 1, schedule, 1)).toMatchObject({ delayMs: 360_000 });
  expect(judge(sent(500), 2, schedule)).toEqual({ state: "dead", reason: "given_up" });
  expect(judge(sent(204), 2, schedule)).toEqual({ state: "delivered" });
});

test("Retry-After makes a delay longer, never shorter, and never longer than a day and its jitter", () => {
  expect(judge(sent(429, 60_000), 0, schedule, 0)).toMatchObject({ delayMs: 60_000 });
  expect(judge(sent(429, 60_000), 0, schedule, 1)).toMatchObject({ delayMs: 72_000 });
  expect(judge(sent(503, 1_000), 1, schedule, 0.5)).toMatchObject({ delayMs: 300_000 });
  expect(judge(sent(503, 999 * hour), 0, schedule, 0.5)).toMatchObject({ delayMs: 28.8 * hour });
});

test("410 ends a delivery at once", () => {
  expect(judge(sent(410), 0, schedule)).toEqual({ state: "dead", reason: "gone" });
});

test("who does not answer or fails is in trouble; who refuses a message is not", () => {
  expect([null, 500, 503, 429, 408].map((status) => isTrouble(sent(status)))).toEqual(
    Array(5).fill(true),
  );
  expect([200, 301, 400, 404, 410].map((status) => isTrouble(sent(status)))).toEqual(
    Array(5).fill(false),
  );
});

test("Retry-After is seconds or a date", () => {
  expect(readRetryAfter("120")).toBe(120_000);
  const date = readRetryAfter(new Date(Date.now() + 60_000).toUTCString()) ?? 0;
  expect(date).toBeGreaterThan(58_000);
  expect(date).toBeLessThanOrEqual(60_000);
  expect(readRetryAfter(new Date(0).toUTCString())).toBe(0);
  expect([readRetryAfter("soon"), readRetryAfter("-1")]).not.toContain(1_000);
});
