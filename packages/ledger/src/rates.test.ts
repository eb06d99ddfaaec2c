import { connectRedis, isRedisUnavailable, untilReady } from "./redis.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createRateLimiter } from "./rates.ts";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
beforeEach(async () => (open = await openTestLedger()));
afterEach(() => open.close());

const rate = { name: "test", perS: 5, burst: 3, whenDown: "refuse" } as const;

test("a second's share and the burst on top are let through, and not one more, by all processes together", async () => {
  const other = connectRedis(open.url, "failFast", () => {});
  await untilReady(other, 1_000);
  const limiters = [open.redis, other].map((redis) => createRateLimiter(redis, open.keys, rate));
  const verdicts = [];
  for (let i = 0; i < 12; i++) verdicts.push(await limiters[i % 2]!("somebody"));
  other.disconnect();
  expect(verdicts.filter(({ isAllowed }) => isAllowed)).toHaveLength(8);
  expect(verdicts[0]).toMatchObject({ isAllowed: true, remaining: 4 });
  expect(verdicts[11]!.resetMs).toBeGreaterThan(0);
  expect(verdicts[11]!.resetMs).toBeLessThanOrEqual(1_000);
  expect((await limiters[0]!("somebody else")).isAllowed).toBe(true);
});

test("what it writes is gone by itself", async () => {
  await createRateLimiter(open.redis, open.keys, rate)("somebody");
  const written = await open.redis.keys(`${open.keys.rates}*`);
  expect(written).toHaveLength(1);
  expect(await open.redis.ttl(written[0]!)).toBeGreaterThan(0);
});

test("without Redis it counts on its own, or refuses to say, as it was told", async () => {
  const gone = connectRedis("redis://127.0.0.1:1", "failFast", () => {});
  const local = createRateLimiter(gone, open.keys, { ...rate, whenDown: "local" });
  const verdicts = [];
  for (let i = 0; i < 12; i++) verdicts.push(await local("somebody"));
  expect(verdicts.filter(({ isAllowed }) => isAllowed)).toHaveLength(8);
  await expect(createRateLimiter(gone, open.keys, rate)("somebody")).rejects.toSatisfy(
    isRedisUnavailable,
  );
  gone.disconnect();
});
