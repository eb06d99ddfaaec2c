/** Keeps what was done with the scope `admin`: in the process's log, where nothing is lost, and in Redis, where it can be read. */
import type { AuditEntry } from "@glimpse/contracts";
import type { AuditLog } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import type { Context, MiddlewareHandler, Next } from "hono";
import { matchedRoutes } from "hono/route";
import type { AppEnv } from "../errors.ts";

export type AuditDeps = { auditLog: Pick<AuditLog, "record">; log: Logger };

/** Stands behind `authenticate`: whoever gets here may do what they do. Reading is not recorded. */
export function audit({ auditLog, log }: AuditDeps): MiddlewareHandler<AppEnv> {
  return function audited(c, next) {
    const isReading = c.req.method === "GET" || c.req.method === "HEAD";
    return isReading || !c.get("needs").includes("admin") ? next() : recorded(c, next);
  };

  async function recorded(c: Context<AppEnv>, next: Next): Promise<void> {
    await next();
    const entry = entryOf(c);
    log.info(ecsOf(entry), "admin action");
    await auditLog
      .record(entry)
      .catch((error: unknown) => log.error({ error }, "admin action is not in the audit log"));
  }
}

/** Says what a request is about, where its path does not. */
export function setTarget(c: Context<AppEnv>, target: string): void {
  c.set("auditTarget", target);
}

function entryOf(c: Context<AppEnv>): Omit<AuditEntry, "id"> {
  const route = matchedRoutes(c).find(({ method }) => method !== "ALL");
  const { tenant, key } = c.get("caller");
  return {
    at: new Date().toISOString(),
    action: `${c.req.method} ${route?.path ?? "?"}`,
    target: c.get("auditTarget") ?? Object.values(c.req.param())[0] ?? null,
    status: c.res.status,
    tenant,
    key,
    address: c.get("address"),
    request_id: c.get("requestId"),
  };
}

/** The same by the names of the Elastic Common Schema. */
function ecsOf(entry: Omit<AuditEntry, "id">) {
  return {
    event: {
      kind: "event",
      category: ["iam", "configuration"],
      type: ["change"],
      action: entry.action,
      outcome: entry.status < 400 ? "success" : "failure",
    },
    user: { id: entry.key },
    organization: { id: entry.tenant },
    source: { ip: entry.address },
    http: { request: { id: entry.request_id }, response: { status_code: entry.status } },
    audit: { target: entry.target },
  };
}
