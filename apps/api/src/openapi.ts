/** The OpenAPI document, from the contracts' schemas. */
import { z } from "zod";
import { accessOf } from "./auth/access.ts";
import { admin } from "./openapi/admin.ts";
import { jobs } from "./openapi/jobs.ts";
import { openAi } from "./openapi/openai.ts";
import type { Group } from "./openapi/parts.ts";
import { uri } from "./openapi/parts.ts";
import { replicate } from "./openapi/replicate.ts";
import { service } from "./openapi/service.ts";
import { webhooks } from "./openapi/webhooks.ts";

const groups: Group[] = [jobs, webhooks, openAi, replicate, admin, service];

const all = <K extends keyof Group>(member: K): Group[K] =>
  Object.assign({}, ...groups.map((group) => group[member])) as Group[K];

/** The paths, each operation with the scope that it needs. */
function securedPaths(): Group["paths"] {
  return Object.fromEntries(
    Object.entries(all("paths")).map(([path, operations]) => {
      const route = path.replaceAll(/\{(\w+)\}/g, ":$1");
      const secured = Object.entries(operations).map(([method, operation]) => {
        const access = accessOf(method.toUpperCase(), route);
        return [method, { ...operation, security: access === "public" ? [] : [{ key: [access] }] }];
      });
      return [path, Object.fromEntries(secured)];
    }),
  );
}

/** JSON Schemas by name, without the members that only a document of its own needs. */
function componentsOf(schemas: Record<string, z.ZodType>, io: "input" | "output") {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(schemas)) registry.add(schema, { id });
  const components = z.toJSONSchema(registry, { uri, io }).schemas;
  for (const component of Object.values(components)) {
    delete component.$schema;
    delete component.$id;
  }
  return components;
}

/** The document, built once. */
export const openApiDocument = {
  openapi: "3.1.0",
  info: {
    title: "Glimpse",
    version: "1",
    description: "Questions about pictures, answered through a queue.",
  },
  paths: securedPaths(),
  webhooks: webhooks.messages,
  components: {
    schemas: { ...componentsOf(all("sent"), "output"), ...componentsOf(all("taken"), "input") },
    securitySchemes: {
      key: {
        type: "http",
        scheme: "bearer",
        description: "An API key, or a token of the issuer that the service trusts",
      },
    },
  },
};
