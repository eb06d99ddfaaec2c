/** Who a request is for. The only place that says so. */
import type { Context } from "hono";
import type { AppEnv } from "./errors.ts";

/** The tenant of a request, as its caller has proved it. */
export function tenantOf(c: Context<AppEnv>): string {
  return c.get("caller").tenant;
}
