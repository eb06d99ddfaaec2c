/** `pnpm keys`: API keys straight in Redis, for whoever may reach that: the first key has to come from somewhere. */
import { parseArgs } from "node:util";
import type { Scope } from "@glimpse/contracts";
import { apiKeyId, defaultTenant, newApiKey } from "@glimpse/contracts";
import {
  connectRedis,
  createApiKeys,
  createAuditLog,
  createKeys,
  untilReady,
} from "@glimpse/ledger";
import { readStore } from "./config.ts";

const usage = `usage: pnpm keys create --name NAME [--tenant TENANT] [--scopes SCOPE,...] [--expires TIME]
       pnpm keys list
       pnpm keys revoke ID

The key goes to standard output, and is never shown again. By default it may read and write the jobs
of the tenant ${defaultTenant}. Scopes: jobs:read, jobs:write, admin. TIME is such as 2027-01-31T00:00:00Z.`;

const usual: Scope[] = ["jobs:read", "jobs:write"];
const { redisUrl, keyPrefix } = readStore();
const redis = connectRedis(redisUrl, "failFast", () => {});
const keys = createKeys(keyPrefix);
const apiKeys = createApiKeys(redis, keys);
const auditLog = createAuditLog(redis, keys);

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
} finally {
  redis.disconnect();
}

async function run([command, ...rest]: string[]): Promise<number> {
  await untilReady(redis, 2_000);
  if (redis.status !== "ready") throw new Error(`No Redis answers at ${new URL(redisUrl).host}.`);
  switch (command) {
    case "create":
      return create(rest);
    case "list":
      return list();
    case "revoke":
      return revoke(rest);
    default:
      return misused();
  }
}

async function create(args: string[]): Promise<number> {
  const option = { type: "string" } as const;
  const options = { name: option, tenant: option, scopes: option, expires: option };
  const { values } = parseArgs({ args, options });
  const wanted = newApiKey.safeParse({
    name: values.name,
    tenant: values.tenant ?? defaultTenant,
    scopes: values.scopes?.split(",") ?? usual,
    expires_at: values.expires ?? null,
  });
  if (!wanted.success) return misused();
  const { key, id, tenant, scopes } = await apiKeys.create(wanted.data);
  await record("keys create", id);
  console.error(`Key ${id} for tenant ${tenant}: ${scopes.join(", ")}`);
  console.log(key);
  return 0;
}

async function list(): Promise<number> {
  for (const key of await apiKeys.list()) {
    const end = key.revoked_at !== null ? `revoked ${key.revoked_at}` : (key.expires_at ?? "");
    console.log(
      [key.id, key.tenant, key.scopes.join(","), key.created_at, key.name, end].join("\t"),
    );
  }
  return 0;
}

async function revoke([id]: string[]): Promise<number> {
  const wanted = apiKeyId.safeParse(id);
  if (!wanted.success) return misused();
  if ((await apiKeys.revoke(wanted.data)) === null) throw new Error(`There is no key ${id}.`);
  await record("keys revoke", wanted.data);
  console.error(`Key ${id} has ended.`);
  return 0;
}

function misused(): number {
  console.error(usage);
  return 2;
}

async function record(action: string, target: string): Promise<void> {
  const nobody = { tenant: "", key: null, address: null, request_id: "" };
  await auditLog.record({ at: new Date().toISOString(), action, target, status: 200, ...nobody });
}
