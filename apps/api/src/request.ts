/** What routes about one job read from a request. */
import type { Job } from "@glimpse/contracts";
import { jobId } from "@glimpse/contracts";
import type { Ledger } from "@glimpse/ledger";
import type { Context } from "hono";
import { ApiError } from "./api-error.ts";
import type { AppEnv } from "./errors.ts";
import { tenantOf } from "./tenant.ts";

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
