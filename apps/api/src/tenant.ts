/** Who a request is for. The only place that says so. */
import { defaultTenant } from "@glimpse/contracts";
import type { Context } from "hono";
import type { AppEnv } from "./errors.ts";

/** The tenant of a request. Everybody is the same one as long as there is no authentication. */
export function tenantOf(_context: Context<AppEnv>): string {
  return defaultTenant;
}
