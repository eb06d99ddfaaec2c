/** API keys, signed links and the audit log, as the admin API and its callers see them. */
import { z } from "zod";
import { jobId, tenantId } from "./jobs.ts";

/** What a caller may do: read jobs, make and change them, or manage the service. None contains another. */
export const scopes = ["jobs:read", "jobs:write", "admin"] as const;
export const scope = z.enum(scopes);
export type Scope = z.infer<typeof scope>;

const timestamp = z.iso.datetime({ offset: false });

/** The part of a key that names it: it is no secret. */
export const apiKeyId = z.string().regex(/^[0-9a-f]{16}$/, "not a key's id");

const keyName = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[^\p{Cc}]*$/u, "must have no control characters");

/** A key to be made. */
export const newApiKey = z
  .strictObject({
    name: keyName.meta({ description: "For people" }),
    tenant: tenantId.meta({ description: "Whose jobs it is for" }),
    scopes: z.array(scope).min(1).max(scopes.length),
    expires_at: z.iso.datetime({ offset: true }).nullable().default(null),
  })
  .meta({ id: "NewApiKey" });
export type NewApiKey = z.infer<typeof newApiKey>;

export const apiKey = z
  .object({
    id: apiKeyId,
    object: z.literal("key"),
    name: z.string(),
    tenant: tenantId,
    scopes: z.array(scope),
    created_at: timestamp,
    expires_at: timestamp.nullable(),
    revoked_at: timestamp.nullable(),
  })
  .meta({ id: "ApiKey" });
export type ApiKey = z.infer<typeof apiKey>;

export const createdApiKey = apiKey
  .extend({ key: z.string().meta({ description: "The key itself; it is never shown again" }) })
  .meta({ id: "CreatedApiKey" });
export type CreatedApiKey = z.infer<typeof createdApiKey>;

export const apiKeyList = z
  .object({
    object: z.literal("list"),
    data: z.array(apiKey).meta({ description: "Newest first" }),
  })
  .meta({ id: "ApiKeyList" });

/** How long a job's signed links shall work. */
export const newLinks = z
  .strictObject({ expires_in_s: z.int().min(1).max(86_400).default(3_600) })
  .meta({ id: "NewLinks" });

/** Addresses that need no credentials, such as browsers' EventSource wants them. */
export const signedLinks = z
  .object({
    object: z.literal("links"),
    job: jobId,
    expires_at: timestamp,
    self: z.string(),
    events: z.string(),
  })
  .meta({ id: "SignedLinks" });

/** Something that was done with the scope `admin`. */
export const auditEntry = z
  .object({
    id: z.string(),
    at: timestamp,
    action: z.string().meta({ description: "The route, such as POST /v1/admin/keys" }),
    target: z.string().nullable().meta({ description: "What it was done to" }),
    status: z.int().meta({ description: "How it was answered" }),
    tenant: z.string(),
    key: z.string().nullable().meta({ description: "The id of the API key that was used" }),
    address: z.string().nullable(),
    request_id: z.string(),
  })
  .meta({ id: "AuditEntry" });
export type AuditEntry = z.infer<typeof auditEntry>;

export const auditQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z
    .string()
    .regex(/^\d{1,15}-\d{1,10}$/, "is not one that a list has given")
    .optional()
    .meta({ description: "The next_cursor of the page before" }),
});

export const auditList = z
  .object({
    object: z.literal("list"),
    data: z.array(auditEntry).meta({ description: "Newest first" }),
    next_cursor: z.string().nullable(),
  })
  .meta({ id: "AuditList" });
