/** Middleware: how often somebody may ask. What changes something and what only reads are counted apart, so that polling costs nobody a job. */
import type { Rate, RateLimiter, RateVerdict } from "@glimpse/ledger";
import { burstS } from "@glimpse/ledger";
import type { Context, MiddlewareHandler } from "hono";
import { ApiError } from "../api-error.ts";
import type { AppEnv } from "../errors.ts";
import type { Rates } from "./settings.ts";

export type OpenLimiter = (rate: Rate) => RateLimiter;

type Policy = { rate: Rate; count: RateLimiter };

const reading = new Set(["GET", "HEAD", "OPTIONS"]);
/** Asked by machines at a pace of their own; refused, they would take us for dead. */
const probes = new Set(["/healthz", "/ready", "/metrics"]);

/** Null when nothing is limited. `who` says whom a request counts for, or null if for nobody. Throws ApiError `rate_limited`. */
export function rateLimit(
  name: string,
  rates: Rates,
  open: OpenLimiter,
  who: (c: Context<AppEnv>) => string | null,
): MiddlewareHandler<AppEnv> | null {
  const policy = (rate: Rate): Policy | null =>
    rate.perS === 0 ? null : { rate, count: open(rate) };
  // Without Redis no job can be accepted, so nobody is told to come back sooner than that.
  const writes = policy({ ...rateOf(name, rates.writes), whenDown: "refuse" });
  const reads = policy({ ...rateOf(`${name}-reads`, rates.reads), whenDown: "local" });

  if (writes === null && reads === null) return null;

  return async function limit(c, next) {
    const used = reading.has(c.req.method) ? reads : writes;
    const somebody = used === null || probes.has(c.req.path) ? null : who(c);
    if (used !== null && somebody !== null) {
      const verdict = await used.count(somebody);
      announce(c, used.rate, verdict);
      if (!verdict.isAllowed) {
        const message = "There are too many requests. Slow down.";
        throw new ApiError("rate_limited", message, null, verdict.resetMs);
      }
    }
    await next();
  };
}

function rateOf(name: string, perS: number): Omit<Rate, "whenDown"> {
  return { name, perS, burst: 2 * perS };
}

/**
 * Headers as in the IETF's draft "RateLimit header fields for HTTP", and those that OpenAI's clients and others look for, which
 * know one limit: the last that is asked, so a key's own if there is one.
 */
function announce(c: Context<AppEnv>, { name, perS, burst }: Rate, verdict: RateVerdict): void {
  const { remaining, resetMs } = verdict;
  const policies = `"${name}";q=${perS};w=1, "${name}-burst";q=${burst};w=${burstS}`;
  c.header("RateLimit-Policy", policies, { append: true });
  const left = `"${name}";r=${remaining};t=${Math.ceil(resetMs / 1_000)}`;
  c.header("RateLimit", left, { append: true });
  c.header("x-ratelimit-limit-requests", String(perS));
  c.header("x-ratelimit-remaining-requests", String(remaining));
  c.header("x-ratelimit-reset-requests", `${Math.ceil(resetMs)}ms`);
}
