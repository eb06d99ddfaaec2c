/** What whoever runs the service may do, as OpenAPI has it. */
import {
  apiKey,
  apiKeyList,
  auditEntry,
  auditList,
  auditQuery,
  createdApiKey,
  newApiKey,
} from "@glimpse/contracts";
import type { Group } from "./parts.ts";
import { inPath, json, problems, queryOf, ref } from "./parts.ts";

const paths = {
  "/v1/admin/keys": {
    get: {
      operationId: "listKeys",
      summary: "List all API keys, without what is secret of them",
      responses: { 200: json("The keys", "ApiKeyList"), ...problems },
    },
    post: {
      operationId: "createKey",
      summary: "Make an API key",
      requestBody: {
        required: true,
        content: { "application/json": { schema: ref("NewApiKey") } },
      },
      responses: { 201: json("The key, in full for the only time", "CreatedApiKey"), ...problems },
    },
  },
  "/v1/admin/keys/{id}": {
    delete: {
      operationId: "revokeKey",
      summary: "End an API key for good, within a second on every process",
      parameters: [inPath("id")],
      responses: { 200: json("The key", "ApiKey"), ...problems },
    },
  },
  "/v1/admin/audit": {
    get: {
      operationId: "readAudit",
      summary: "Read what was done with the scope admin, newest first",
      parameters: queryOf(auditQuery),
      responses: { 200: json("A page of what was done", "AuditList"), ...problems },
    },
  },
};

export const admin: Group = {
  paths,
  sent: {
    ApiKey: apiKey,
    ApiKeyList: apiKeyList,
    AuditEntry: auditEntry,
    AuditList: auditList,
    CreatedApiKey: createdApiKey,
  },
  taken: { NewApiKey: newApiKey },
};
