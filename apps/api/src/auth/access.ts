/** What each route needs. Told by the route that the router has matched, never by the request's path: no spelling of a path can change it. */
import type { Scope } from "@glimpse/contracts";
import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import type { AppEnv } from "../errors.ts";

/** Routes that are not what their method and place say. Everything else is private. */
const declared = new Map<string, Scope | "public">([
  ["GET /healthz", "public"],
  ["GET /ready", "public"],
  ["GET /openapi.json", "public"],
  // The page; behind all other routes, so that it gets only what none of them is.
  ["GET /*", "public"],
  ["GET /metrics", "admin"],
  ["POST /v1/jobs/:id/links", "jobs:read"],
  // Whoever knows a secret can say anything in our name.
  ["GET /v1/webhook-secret", "jobs:write"],
  ["GET /replicate/v1/webhooks/default/secret", "jobs:write"],
]);

const reading = new Set(["GET", "HEAD"]);

/** The scope that a route needs; `path` as it was declared, with its parameters' names. */
export function accessOf(method: string, path: string): Scope | "public" {
  const exception = declared.get(`${method} ${path}`);
  if (exception !== undefined) return exception;
  if (path.startsWith("/v1/admin/")) return "admin";
  return reading.has(method) ? "jobs:read" : "jobs:write";
}

/** The scopes that a request needs: those of all routes that may answer it, none when they are public. */
export function neededScopes(c: Context<AppEnv>): Scope[] {
  const routes = matchedRoutes(c).filter(({ method }) => method !== "ALL");
  // A method that a known address does not have, or an address that nobody knows.
  if (routes.length === 0) return [reading.has(c.req.method) ? "jobs:read" : "jobs:write"];
  const needs = routes.map(({ method, path }) => accessOf(method, path));
  return needs.filter((need) => need !== "public");
}
