/** From a list's query to a page of jobs. The cursor is a place in the ledger's index; clients only hand it back. */
import type { JobList } from "@glimpse/contracts";
import { jobId, jobQuery } from "@glimpse/contracts";
import type { Ledger, ListPosition } from "@glimpse/ledger";
import { z } from "zod";
import { ApiError } from "./api-error.ts";
import { validate } from "./validate.ts";

const position = z.tuple([z.int().nonnegative(), jobId]);

/** `queries`: each name with all its values. Throws ApiErrors. */
export async function listJobs(
  ledger: Ledger,
  tenant: string,
  queries: Record<string, string[]>,
): Promise<JobList> {
  const query = validate(jobQuery, gather(queries));
  const filter = {
    tenant,
    states: query.state,
    createdAfterMs: readMoment(query.created_after),
    createdBeforeMs: readMoment(query.created_before),
    metadata: query.metadata,
  };
  const from = query.cursor === undefined ? null : readCursor(query.cursor);
  const { jobs, next } = await ledger.list(filter, query.limit, from);
  return { object: "list", data: jobs, next_cursor: next && writeCursor(next) };
}

/** `state` may come several times, `metadata[name]` once a name, everything else once. */
function gather(queries: Record<string, string[]>): Record<string, unknown> {
  const query = new Map<string, unknown>();
  const wanted = new Map<string, string>();
  for (const [name, all] of Object.entries(queries)) {
    const entry = /^metadata\[(.*)\]$/.exec(name)?.[1];
    if (name !== "state" && all.length > 1)
      throw new ApiError("invalid_request", `${name} is given twice.`, name);
    // The schema would drop it in silence, and with it the condition.
    if (entry === "__proto__") throw new ApiError("invalid_request", "No job has this.", name);
    if (entry !== undefined) wanted.set(entry, all[0] ?? "");
    else query.set(name, name === "state" ? all : all[0]);
  }
  if (wanted.size > 0) query.set("metadata", Object.fromEntries(wanted));
  return Object.fromEntries(query);
}

function readMoment(time: string | undefined): number | undefined {
  return time === undefined ? undefined : Date.parse(time);
}

function writeCursor({ createdMs, id }: ListPosition): string {
  return Buffer.from(JSON.stringify([createdMs, id])).toString("base64url");
}

function readCursor(cursor: string): ListPosition {
  try {
    const text = Buffer.from(cursor, "base64url").toString("utf8");
    const [createdMs, id] = position.parse(JSON.parse(text));
    return { createdMs, id };
  } catch {
    throw new ApiError("invalid_request", "The cursor is not one that a list has given.", "cursor");
  }
}
