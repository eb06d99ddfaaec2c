/** What several routes read from a request. */
import type { Job } from "@glimpse/contracts";
import { jobId } from "@glimpse/contracts";
import type { Ledger } from "@glimpse/ledger";
import type { Context } from "hono";
import type { z } from "zod";
import { ApiError } from "./api-error.ts";
import { readBody } from "./body.ts";
import type { AppEnv } from "./errors.ts";
import { parseJson } from "./json.ts";
import { tenantOf } from "./tenant.ts";
import { validate } from "./validate.ts";

/** A small JSON body by its schema; none at all is an empty object. Throws ApiErrors. */
export async function readJson<T extends z.ZodType>(
  c: Context<AppEnv>,
  schema: T,
  maxBytes = 16_384,
): Promise<z.infer<T>> {
  const bytes = await readBody(c.req.raw, maxBytes);
  if (bytes.length === 0) return validate(schema, {});
  const mediaType = c.req.header("Content-Type")?.split(";", 1)[0]?.trim().toLowerCase();
  if (mediaType !== "application/json") {
    throw new ApiError("unsupported_media_type", "Send application/json.");
  }
  return validate(schema, parseJson(bytes));
}

/** The path's job id. One that cannot be an id is like one that is not there: throws `job_not_found`. */
export function readJobId(c: Context<AppEnv>): string {
  const id = jobId.safeParse(c.req.param("id"));
  if (!id.success) throw noSuchJob();
  return id.data;
}

/** The caller's job of this id. Throws `job_not_found`, for another tenant's job as for none. */
export async function existingJob(c: Context<AppEnv>, ledger: Ledger, id: string): Promise<Job> {
  const job = await ledger.read(id, tenantOf(c));
  if (job === null) throw noSuchJob();
  return job;
}

export function noSuchJob(): ApiError {
  return new ApiError("job_not_found", "There is no such job.");
}
