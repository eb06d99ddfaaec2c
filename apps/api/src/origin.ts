/** Where clients reach this API, for addresses that must be absolute. */
import type { Context } from "hono";
import type { AppEnv } from "./errors.ts";

/** `https://host:port`, without a slash at the end. Unless it is set, what the request itself calls this place. */
export function originOf(c: Context<AppEnv>, publicUrl: string | null): string {
  return publicUrl ?? new URL(c.req.url).origin;
}
