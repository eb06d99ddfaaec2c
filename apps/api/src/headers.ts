/** What every answer says to browsers. They may show our page as it is, and nothing of ours within another's. */
import type { MiddlewareHandler } from "hono";
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

/** Sets them at the server, where it costs a tenth of what it does in a Response; in a Response where there is no server. */
export const securityHeaders: MiddlewareHandler<AppEnv> = async (c, next) => {
  const env: AppEnv["Bindings"] | undefined = c.env; // a test's request comes without one
  const outgoing = env?.outgoing;
  for (const [name, value] of security) {
    if (outgoing === undefined) c.header(name, value);
    else outgoing.setHeader(name, value);
  }
  await next();
};
