/** Which pages of other origins may call the API. Browsers send no credentials by themselves: a page must have a key of its own. */
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";

const taken = ["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer"];
const counts = ["limit", "remaining", "reset"].map((what) => `x-ratelimit-${what}-requests`);
const shown = ["Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"];

/** Adds nothing to answers for other origins, so that browsers keep them from their pages. */
export function openToOrigins(origins: readonly string[]): MiddlewareHandler {
  const open = cors({
    origin: [...origins],
    allowMethods: ["GET", "HEAD", "POST", "PUT", "DELETE"],
    allowHeaders: taken,
    exposeHeaders: [...shown, ...counts],
    maxAge: 600,
  });
  return (c, next) => (origins.includes(c.req.header("Origin") ?? "") ? open(c, next) : next());
}
