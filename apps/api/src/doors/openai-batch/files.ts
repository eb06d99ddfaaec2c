/** `/v1/files`: what batches are made of and what becomes of them. */
import type { KeptFile } from "@glimpse/contracts";
import { Hono } from "hono";
import { z } from "zod";
import { ApiError } from "../../api-error.ts";
import type { AppEnv } from "../../errors.ts";
import { tenantOf } from "../../tenant.ts";
import { validate } from "../../validate.ts";
import type { BatchDeps } from "../batch-runner.ts";
import { listOf, seconds } from "../shapes.ts";
import { readUpload } from "../upload.ts";

/** Of a list: how many, and behind which. */
export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(10_000).default(20),
  after: z.string().nullish(),
});

export function fileRoutes({ files, limits }: BatchDeps) {
  const app = new Hono<AppEnv>();

  app.post("/v1/files", async (c) => {
    const { name, bytes, fields } = await readUpload(c.req.raw, "file", limits.bodyBytes);
    const purpose = fields.get("purpose");
    if (purpose !== "batch")
      throw new ApiError("unsupported_parameter", "Files are taken for batches only.", "purpose");
    const { id, file } = await files.create(tenantOf(c), name, purpose, bytes);
    return c.json(fileOf(id, file));
  });

  app.get("/v1/files", async (c) => {
    const { limit, after } = validate(pageQuery, c.req.query());
    const found = await files.list(tenantOf(c), limit + 1, after ?? null);
    const purpose = c.req.query("purpose");
    const data = found
      .slice(0, limit)
      .map(({ id, thing }) => fileOf(id, thing))
      .filter((file) => purpose === undefined || file.purpose === purpose);
    return c.json(listOf(data, found.length > limit));
  });

  app.get("/v1/files/:id", async (c) => {
    const id = c.req.param("id");
    return c.json(fileOf(id, found(await files.get(tenantOf(c), id))));
  });

  app.get("/v1/files/:id/content", async (c) => {
    const file = found(await files.get(tenantOf(c), c.req.param("id")));
    const bytes = found(await files.read(file));
    c.header("Content-Type", "application/jsonl");
    c.header("Content-Disposition", "attachment");
    return c.body(new Uint8Array(bytes));
  });

  app.delete("/v1/files/:id", async (c) => {
    const id = c.req.param("id");
    if (!(await files.remove(tenantOf(c), id))) throw noSuchFile();
    return c.json({ id, object: "file", deleted: true });
  });

  return app;
}

export function noSuchFile(): ApiError {
  return new ApiError("file_not_found", "There is no such file.");
}

function found<T>(thing: T | null): T {
  if (thing === null) throw noSuchFile();
  return thing;
}

function fileOf(id: string, { name, purpose, bytes, createdMs }: KeptFile) {
  const created_at = seconds(createdMs);
  return { id, object: "file", bytes, created_at, filename: name, purpose, status: "processed" };
}
