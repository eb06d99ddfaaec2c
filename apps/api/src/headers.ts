/** What every answer says: to browsers, that they may show our page as it is, and nothing of ours within another's; and its request's id. */
import { randomUUID } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import type { AppEnv } from "./errors.ts";

const security = Object.entries({
  "Content-Security-Policy":
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Origin-Agent-Cluster": "?1",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-DNS-Prefetch-Control": "off",
  "X-Download-Options": "noopen",
  "X-Frame-Options": "DENY",
  "X-Permitted-Cross-Domain-Policies": "none",
  "X-XSS-Protection": "0",
});

/** At the server, where it costs a tenth of what it does in a Response; in a Response where there is no server. */
function setHeader(c: Context<AppEnv>, name: string, value: string): void {
  const env: AppEnv["Bindings"] | undefined = c.env; // a test's request comes without one
  if (env?.outgoing === undefined) c.header(name, value);
  else env.outgoing.setHeader(name, value);
}

export const securityHeaders: MiddlewareHandler<AppEnv> = (c, next) => {
  for (const [name, value] of security) setHeader(c, name, value);
  return next();
};

/** Sets `requestId`: what the client calls its request, if that is a name, or a new one. */
export const nameRequest: MiddlewareHandler<AppEnv> = (c, next) => {
  const given = c.req.header("X-Request-Id") ?? "";
  const id = /^[\w=-]{1,255}$/.test(given) ? given : randomUUID();
  c.set("requestId", id);
  setHeader(c, "X-Request-Id", id);
  return next();
};
