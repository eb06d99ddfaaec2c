/** Who asks, and whether they may: for every request, before any route. */
import type { Scope } from "@glimpse/contracts";
import type { Logger } from "@glimpse/telemetry";
import type { Context, MiddlewareHandler, Next } from "hono";
import { ApiError } from "../api-error.ts";
import type { AppEnv } from "../errors.ts";
import type { Links } from "../links.ts";
import { neededScopes } from "./access.ts";
import type { Caller, Check, Refused } from "./caller.ts";
import { nobody } from "./caller.ts";

export type AuthDeps = {
  auth: {
    /** The kinds of credentials that are accepted; or who everybody is, where there is no authentication. */
    checks: Check[] | Caller;
    links: Links;
  };
  log: Logger;
};

/** Sets `caller`, or throws `unauthenticated` or `insufficient_scope`. All credentials that are not good look alike. */
export function authenticate({
  auth: { checks, links },
  log,
}: AuthDeps): MiddlewareHandler<AppEnv> {
  return function authenticated(c, next) {
    const needs = neededScopes(c);
    c.set("needs", needs);
    if (!Array.isArray(checks)) return admit(c, checks, next);
    return callerOf(c, needs, checks).then((caller) => admit(c, caller, next));
  };

  function admit(c: Context<AppEnv>, caller: Caller, next: Next): Promise<void> {
    c.set("caller", caller);
    const missing = c.get("needs").find((need) => !caller.scopes.includes(need));
    if (missing !== undefined) throw insufficient(c, missing);
    return next();
  }

  async function callerOf(c: Context<AppEnv>, needs: Scope[], kinds: Check[]): Promise<Caller> {
    if (needs.length === 0) return nobody;
    const found = await identify(c, kinds);
    if (found !== null && !("refused" in found)) return found;
    if (found !== null) {
      log.info({ request_id: c.get("requestId"), reason: found.refused }, "credentials refused");
    }
    throw unauthenticated(c, found !== null);
  }

  /** Null when the request has no credentials at all. */
  async function identify(c: Context<AppEnv>, kinds: Check[]): Promise<Caller | Refused | null> {
    const header = c.req.header("Authorization");
    if (header === undefined) {
      const token = c.req.query("token");
      return token === undefined || c.req.method !== "GET" ? null : links.check(c.req.path, token);
    }
    // Token is what old clients of other services say.
    const credential = /^(?:Bearer|Token) +([\w.~+/-]+=*)$/i.exec(header)?.[1];
    if (credential === undefined) return { refused: "not a bearer's credentials" };
    for (const check of kinds) {
      const found = await check(credential);
      if (found !== null) return found;
    }
    return { refused: "of no known kind" };
  }
}

function unauthenticated(c: Context<AppEnv>, isRefused: boolean): ApiError {
  // RFC 6750, 3.1: whoever has sent nothing is not told of an error.
  c.header("WWW-Authenticate", isRefused ? 'Bearer error="invalid_token"' : "Bearer");
  return new ApiError(
    "unauthenticated",
    "Send a valid API key or token: Authorization: Bearer <key>.",
  );
}

function insufficient(c: Context<AppEnv>, scope: Scope): ApiError {
  c.header("WWW-Authenticate", `Bearer error="insufficient_scope", scope="${scope}"`);
  return new ApiError("insufficient_scope", `This needs the scope ${scope}.`);
}
