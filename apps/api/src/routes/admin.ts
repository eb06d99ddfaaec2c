/** What whoever runs the service may do over HTTP: keys, and the log of what was done. */
import { apiKeyId, auditQuery, newApiKey } from "@glimpse/contracts";
import type { ApiKeys, AuditLog } from "@glimpse/ledger";
import { Hono } from "hono";
import { ApiError } from "../api-error.ts";
import { setTarget } from "../auth/audit.ts";
import type { AppEnv } from "../errors.ts";
import { readJson } from "../request.ts";
import { validate } from "../validate.ts";

export type AdminRoutesDeps = { apiKeys: ApiKeys; auditLog: AuditLog };

export function adminRoutes({ apiKeys, auditLog }: AdminRoutesDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();

  routes.post("/v1/admin/keys", async (c) => {
    const wanted = await readJson(c, newApiKey);
    if (wanted.expires_at !== null && Date.parse(wanted.expires_at) <= Date.now()) {
      throw new ApiError("invalid_request", "expires_at is in the past.", "expires_at");
    }
    const created = await apiKeys.create(wanted);
    setTarget(c, created.id);
    c.header("Cache-Control", "no-store");
    return c.json(created, 201);
  });

  routes.get("/v1/admin/keys", async (c) => {
    return c.json({ object: "list", data: await apiKeys.list() });
  });

  routes.delete("/v1/admin/keys/:id", async (c) => {
    const id = apiKeyId.safeParse(c.req.param("id"));
    const revoked = id.success ? await apiKeys.revoke(id.data) : null;
    if (revoked === null) throw new ApiError("key_not_found", "There is no such key.");
    return c.json(revoked);
  });

  routes.get("/v1/admin/audit", async (c) => {
    const { limit, cursor } = validate(auditQuery, c.req.query());
    const { entries, next } = await auditLog.list(limit, cursor ?? null);
    return c.json({ object: "list", data: entries, next_cursor: next });
  });

  return routes;
}
