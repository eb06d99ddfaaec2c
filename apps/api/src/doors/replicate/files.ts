/** `/replicate/v1/files`: pictures that clients upload before they ask about them. */
import type { KeptFile } from "@glimpse/contracts";
import type { Files } from "@glimpse/ledger";
import type { Context } from "hono";
import { Hono } from "hono";
import { ApiError } from "../../api-error.ts";
import type { Limits } from "../../config.ts";
import type { AppEnv } from "../../errors.ts";
import { originOf } from "../../origin.ts";
import { checkPicture } from "../../picture.ts";
import { tenantOf } from "../../tenant.ts";
import { readUpload } from "../upload.ts";

export type FilesDeps = { files: Files; limits: Limits; publicUrl: string | null };

const path = "/replicate/v1/files";
const purpose = "replicate";
const maxListed = 100;

export function fileRoutes({ files, limits, publicUrl }: FilesDeps) {
  const app = new Hono<AppEnv>();

  app.post(path, async (c) => {
    const { name, bytes } = await readUpload(c.req.raw, "content", limits.imageBytes);
    await checkPicture(bytes, limits, "content");
    const { id, file } = await files.create(tenantOf(c), name, purpose, bytes);
    return c.json(fileOf(c, id, file), 201);
  });

  app.get(path, async (c) => {
    const all = await files.list(tenantOf(c), maxListed, null);
    const own = all.filter(({ thing }) => thing.purpose === purpose);
    const results = own.map(({ id, thing }) => fileOf(c, id, thing));
    return c.json({ previous: null, next: null, results });
  });

  app.get(`${path}/:id`, async (c) => {
    const file = await files.get(tenantOf(c), c.req.param("id"));
    if (file === null) throw noSuchFile();
    return c.json(fileOf(c, c.req.param("id"), file));
  });

  app.delete(`${path}/:id`, async (c) => {
    if (!(await files.remove(tenantOf(c), c.req.param("id")))) throw noSuchFile();
    return c.body(null, 204);
  });

  function fileOf(c: Context<AppEnv>, id: string, { name, bytes, digest, createdMs }: KeptFile) {
    return {
      id,
      name,
      content_type: "application/octet-stream",
      size: bytes,
      checksums: { sha256: digest },
      metadata: {},
      created_at: new Date(createdMs).toISOString(),
      expires_at: null,
      urls: { get: `${originOf(c, publicUrl)}${path}/${id}` },
    };
  }
  return app;
}

function noSuchFile(): ApiError {
  return new ApiError("file_not_found", "There is no such file.");
}
