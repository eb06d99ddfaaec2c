/** How often somebody may ask, counted in Redis for all processes together. Knows neither HTTP nor who it is that asks. */
import type { Redis } from "ioredis";
import {
  BurstyRateLimiter,
  RateLimiterMemory,
  RateLimiterRedis,
  RateLimiterRes,
} from "rate-limiter-flexible";
import type { Keys } from "./keys.ts";

/** `perS` requests each second, and `burst` more within `burstS`. */
export type Rate = {
  name: string;
  perS: number;
  burst: number;
  /** While Redis cannot be asked: `local` counts in this process alone; `refuse` has the limiter reject with Redis's error. */
  whenDown: "local" | "refuse";
};

/** `remaining` of this second's, and when there are more: at once again for one that is refused. */
export type RateVerdict = { isAllowed: boolean; remaining: number; resetMs: number };

export type RateLimiter = (who: string) => Promise<RateVerdict>;

/** Of how many seconds a burst is the share that comes on top. */
export const burstS = 10;

/** One round trip for a request; a second one for those beyond the second's share. */
export function createRateLimiter(redis: Redis, keys: Keys, rate: Rate): RateLimiter {
  const window = (name: string, points: number, duration: number) => {
    const local = new RateLimiterMemory({ keyPrefix: name, points, duration });
    return new RateLimiterRedis({
      storeClient: redis,
      keyPrefix: `${keys.rates}:${name}`,
      points,
      duration,
      ...(rate.whenDown === "local" && { insuranceLimiter: local }),
    });
  };
  const limiter = new BurstyRateLimiter(
    window(rate.name, rate.perS, 1),
    window(`${rate.name}-burst`, rate.burst, burstS),
  );
  return async function count(who) {
    try {
      return verdictOf(await limiter.consume(who), true);
    } catch (error) {
      if (error instanceof RateLimiterRes) return verdictOf(error, false);
      throw error;
    }
  };
}

function verdictOf(
  { remainingPoints, msBeforeNext }: RateLimiterRes,
  isAllowed: boolean,
): RateVerdict {
  return { isAllowed, remaining: remainingPoints, resetMs: Math.max(0, msBeforeNext) };
}
