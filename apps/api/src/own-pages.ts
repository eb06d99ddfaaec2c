/**
 * Keeps web pages of others from using a visitor's browser as a way in: requests across origins (Fetch Metadata), and on an
 * address that is open because only this machine reaches it, names that have been pointed at it (DNS rebinding). Knows
 * headers and which routes are public; knows no caller.
 */
import { isIP } from "node:net";
import type { Context, MiddlewareHandler } from "hono";
import { ApiError } from "./api-error.ts";
import { neededScopes } from "./auth/access.ts";
import type { AppEnv } from "./errors.ts";

export type OwnPagesSettings = {
  corsOrigins: readonly string[];
  publicUrl: string | null;
  /** Whoever reaches the address may ask, since only this machine does. */
  isOpenLocally: boolean;
};

const reading = new Set(["GET", "HEAD"]);

/** Refuses with `origin_not_allowed`. What is public and only read passes. */
export function onlyOwnPages(settings: OwnPagesSettings): MiddlewareHandler<AppEnv> {
  const { corsOrigins, publicUrl, isOpenLocally } = settings;
  const publicHost = publicUrl === null ? null : new URL(publicUrl).hostname;
  const isMisnamedOrigin = remembered((origin) => !isOwnName(new URL(origin).hostname, publicHost));
  return (c, next) => {
    const isForeign = isAcrossOrigins(c) && !corsOrigins.includes(c.req.header("Origin") ?? "");
    const isMisnamed =
      isOpenLocally && isMisnamedOrigin(/^[^:]*:\/\/[^/]*/.exec(c.req.url)?.[0] ?? "");
    if ((isForeign || isMisnamed) && !isHarmless(c)) {
      const message = isForeign
        ? "A page of another origin may not ask this; see CORS_ORIGINS."
        : "This address is not known by that name; see PUBLIC_URL.";
      throw new ApiError("origin_not_allowed", message);
    }
    return next();
  };
}

/** What the function has said last is not asked again: nearly all requests call us by one name. */
function remembered(of: (text: string) => boolean): (text: string) => boolean {
  let last = { text: "", said: false };
  return (text) => {
    if (text !== last.text) last = { text, said: of(text) };
    return last.said;
  };
}

/** Only browsers send these headers, and no page can change them. A link that somebody follows is no page's doing. */
function isAcrossOrigins(c: Context<AppEnv>): boolean {
  const site = c.req.header("Sec-Fetch-Site") ?? "none";
  if (site === "none" || site === "same-origin") return false;
  const isFollowed =
    c.req.header("Sec-Fetch-Mode") === "navigate" && c.req.header("Sec-Fetch-Dest") === "document";
  return !(isFollowed && reading.has(c.req.method));
}

/** Of all hosts only a name can be pointed elsewhere: an address leads where it says. */
function isOwnName(hostname: string, publicHost: string | null): boolean {
  if (hostname === "localhost" || hostname.endsWith(".localhost")) return true;
  return hostname === publicHost || isIP(hostname.replace(/^\[|\]$/g, "")) !== 0;
}

function isHarmless(c: Context<AppEnv>): boolean {
  return reading.has(c.req.method) && neededScopes(c).length === 0;
}
