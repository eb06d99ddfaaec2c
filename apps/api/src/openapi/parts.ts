/** What descriptions of routes have in common. */
import { z } from "zod";

/**
 * A group of routes: its paths as OpenAPI has them, the schemas of what the API sends and of what it takes, by their names. Schemas
 * that others refer to are among them, so that each has a name of its own.
 */
export type Group = {
  paths: Record<string, Record<string, object>>;
  sent: Record<string, z.ZodType>;
  taken: Record<string, z.ZodType>;
};

export const uri = (id: string) => `#/components/schemas/${id}`;
export const ref = (id: string) => ({ $ref: uri(id) });
export const json = (description: string, id: string) => ({
  description,
  content: { "application/json": { schema: ref(id) } },
});
export const problems = {
  default: {
    description: "A refusal",
    content: { "application/problem+json": { schema: ref("Problem") } },
  },
};

/** A parameter in a path. */
export const inPath = (name: string) => ({
  name,
  in: "path",
  required: true,
  schema: { type: "string" },
});

/** The parameters of a query, from its schema. */
export function queryOf(schema: z.ZodType): Record<string, unknown>[] {
  const properties = Object.entries(z.toJSONSchema(schema, { io: "input" }).properties ?? {});
  return properties.map(([name, property]) => ({ name, in: "query", schema: property }));
}
