import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createBreaker } from "./breaker.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const settings = { brokenShare: 0.5, sample: 20, openMs: 10_000, unservedGraceMs: 60_000 };
const served = { workers: 1, slots: 8, runMs: 100 };

/** A breaker, and a ledger's counts for it to see. */
async function setUp() {
  const breaker = createBreaker(settings);
  const counts = { succeeded: 1_000, broken: 5_000 };
  const see = (more: { succeeded?: number; broken?: number } = {}, workers = 1) => {
    counts.succeeded += more.succeeded ?? 0;
    counts.broken += more.broken ?? 0;
    return breaker.observe({ ...served, ...counts, workers });
  };
  await see();
  return { breaker, see };
}

test("what ended before it looked is history", async () => {
  const { breaker } = await setUp();
  expect([breaker.state(), breaker.refusal(), breaker.enter()]).toEqual(["closed", null, null]);
});

test("few that break do not open it, and neither does half of many", async () => {
  const { breaker, see } = await setUp();
  await see({ broken: 9 });
  expect(breaker.state()).toBe("closed");
  for (let i = 0; i < 10; i++) await see({ succeeded: 500, broken: 500 });
  expect(breaker.state()).toBe("closed");
});

test("when most break it opens, says for how long, and is not mended by what ends meanwhile", async () => {
  const { breaker, see } = await setUp();
  await see({ succeeded: 300, broken: 700 });
  expect(breaker.state()).toBe("open");
  await vi.advanceTimersByTimeAsync(4_000);
  await see({ succeeded: 100 });
  expect(breaker.refusal()).toEqual({ reason: "broken", retryAfterMs: 6_000 });
  expect(breaker.enter()).toEqual({ reason: "broken", retryAfterMs: 6_000 });
});

test("half open it lets in a job a second, until one of them succeeds", async () => {
  const { breaker, see } = await setUp();
  await see({ broken: 20 });
  await vi.advanceTimersByTimeAsync(10_000);
  expect([breaker.state(), breaker.refusal()]).toEqual(["half_open", null]);
  expect(breaker.enter()).toBeNull();
  expect(breaker.enter()).toEqual({ reason: "broken", retryAfterMs: 1_000 });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(breaker.enter()).toBeNull();
  await see({ succeeded: 1 });
  expect([breaker.state(), breaker.enter(), breaker.enter()]).toEqual(["closed", null, null]);
  await see({ broken: 8 });
  expect(breaker.state()).toBe("closed"); // what was before is forgotten
});

test("half open it opens again when the first that is tried breaks", async () => {
  const { breaker, see } = await setUp();
  await see({ broken: 20 });
  await vi.advanceTimersByTimeAsync(10_000);
  await see({ broken: 1 });
  expect(breaker.refusal()).toEqual({ reason: "broken", retryAfterMs: 10_000 });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(breaker.state()).toBe("half_open");
});

test("nobody serving is a restart at first and an outage later, until somebody does", async () => {
  const { breaker, see } = await setUp();
  await see({}, 0);
  await vi.advanceTimersByTimeAsync(59_000);
  await see({}, 0);
  expect([breaker.state(), breaker.refusal()]).toEqual(["closed", null]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect([breaker.state(), breaker.refusal()?.reason]).toEqual(["open", "unserved"]);
  expect(breaker.enter()?.reason).toBe("unserved");
  await see({}, 1);
  expect([breaker.state(), breaker.enter()]).toEqual(["closed", null]);
});
