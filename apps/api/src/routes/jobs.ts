/** Jobs over HTTP: submit, read, follow, cancel, delete. Knows HTTP and what the other files do; knows neither Redis nor BullMQ. */
import { createHash } from "node:crypto";
import type { Job } from "@glimpse/contracts";
import { isTerminal } from "@glimpse/contracts";
import type { Context } from "hono";
import { Hono } from "hono";
import { etag } from "hono/etag";
import { z } from "zod";
import type { AcceptDeps } from "../accept.ts";
import { createAccept } from "../accept.ts";
import { ApiError } from "../api-error.ts";
import { createCancel } from "../cancel.ts";
import type { Limits } from "../config.ts";
import type { Accepted } from "../ended-job.ts";
import type { AppEnv } from "../errors.ts";
import type { FollowDeps } from "../follow.ts";
import { follow } from "../follow.ts";
import type { Gates } from "../limits/gates.ts";
import { readChosenId, readIdempotencyKey } from "../idempotency.ts";
import { listJobs } from "../list-jobs.ts";
import { createReadPlace } from "../queue-place.ts";
import { existingJob, noSuchJob, readJobId } from "../request.ts";
import { answerWith, createSse } from "../sse.ts";
import { tenantOf } from "../tenant.ts";
import { validate } from "../validate.ts";
import type { Waiting } from "../wait.ts";

export type JobRoutesDeps = AcceptDeps &
  FollowDeps & {
    limits: Limits;
    gates: Gates;
    waiting: Waiting;
    /** Aborts when the process is about to stop: long answers end, and their clients come back elsewhere. */
    closing: AbortSignal;
    /** How long a reader of events may read nothing. */
    streamStallMs: number;
  };

const waitQuery = z.object({ wait: z.coerce.number().min(0).optional() });
const afterQuery = z.object({ after: z.coerce.number().int().min(-1) });
const maxWaitS = 60;

export function jobRoutes(deps: JobRoutesDeps): Hono<AppEnv> {
  const { ledger, queues, admission, gates, waiting, served, limits, log, closing } = deps;
  const accept = createAccept(deps);
  const cancel = createCancel(deps);
  const readPlace = createReadPlace(queues, admission.readPulse);
  const sseStream = createSse({ closing, stallMs: deps.streamStallMs });
  const routes = new Hono<AppEnv>();

  routes.post("/v1/jobs", async (c) => {
    const chosen = keyedId(c);
    const id = chosen ?? ledger.newId();
    await submit(c, id, chosen !== null);
    return accepted(c, await recorded(c, id));
  });

  routes.put("/v1/jobs/:id", async (c) => {
    const id = readChosenId(c.req.param("id"), ledger.shard);
    await submit(c, id, true);
    return accepted(c, await recorded(c, id));
  });

  routes.get("/v1/jobs", async (c) => {
    return c.json(await listJobs(ledger, tenantOf(c), c.req.queries()));
  });

  routes.post("/v1/infer", async (c) => {
    const waitMs = readWaitMs(c, 30);
    const chosen = keyedId(c);
    const id = chosen ?? waiting.newId();
    const job = await waiting.wait(c, id, waitMs, () => submit(c, id, chosen !== null));
    if (job === null) throw new ApiError("job_not_found", "The job was deleted.");
    return isTerminal(job.state) ? c.json(job) : accepted(c, job);
  });

  routes.get("/v1/jobs/:id", etag(), async (c) => {
    const waitMs = readWaitMs(c, 0);
    const job = await waiting.wait(c, readJobId(c), waitMs);
    if (job === null) throw noSuchJob();
    const body = JSON.stringify({ ...job, queue: await readPlace(job) });
    c.header("ETag", `"${createHash("sha1").update(body).digest("base64url")}"`);
    c.header("Cache-Control", "private, no-cache");
    c.header("Content-Type", "application/json");
    return c.body(body);
  });

  routes.get("/v1/jobs/:id/events", async (c) => {
    const after = readAfter(c);
    const job = await existingJob(c, ledger, readJobId(c));
    // A browser comes back after the end; 204 is how it is told that there is no more.
    if (isTerminal(job.state) && (await ledger.readLog(job.id, after, 1)).length === 0)
      return c.body(null, 204);
    const stream = sseStream((until) => follow(deps, job.id, after, until), {
      onStall: () => {
        log.info({ job: job.id }, "cut a reader that does not read");
        c.env.outgoing?.destroy();
      },
      onError: (error) => log.warn({ error, job: job.id }, "event stream broke off"),
    });
    return answerWith(c, stream);
  });

  routes.post("/v1/jobs/:id/cancel", async (c) => {
    const job = await cancel(readJobId(c), tenantOf(c));
    if (job === null) throw noSuchJob();
    return c.json(job);
  });

  routes.delete("/v1/jobs/:id", async (c) => {
    const outcome = await ledger.delete(readJobId(c), tenantOf(c));
    if (outcome === "none") throw noSuchJob();
    if (outcome === "not ended")
      throw new ApiError("job_not_ended", "The job has not ended. Cancel it, then delete it.");
    return c.body(null, 204);
  });

  /** Null: the job was there already. `isChosen`: the request itself has chosen its id. */
  async function submit(
    c: Context<AppEnv>,
    id: string,
    isChosen: boolean,
  ): Promise<Accepted | null> {
    // One that has been accepted before is answered, however much there is to do.
    if (!isChosen) await admission.check(served.version);
    const contentType = c.req.header("Content-Type") ?? "";
    const taken = await gates.withBody(c, limits.bodyBytes, (bytes) =>
      accept({ bytes, contentType, tenant: tenantOf(c), id, isChosen }),
    );
    if (taken === null) c.header("Idempotent-Replayed", "true");
    return taken;
  }

  function keyedId(c: Context<AppEnv>): string | null {
    const key = readIdempotencyKey(c.req.header("Idempotency-Key"));
    return key === null ? null : ledger.keyedId(tenantOf(c), `${c.req.method} ${c.req.path}`, key);
  }

  /** A job that was accepted a moment ago: if it is gone, Redis has lost it, as a replica may that has just become the primary. */
  async function recorded(c: Context<AppEnv>, id: string): Promise<Job> {
    const job = await ledger.read(id, tenantOf(c));
    if (job === null)
      throw new ApiError("unavailable", "The job could not be kept. Send it again.");
    return job;
  }

  return routes;
}

function accepted(c: Context<AppEnv>, job: Job): Response {
  c.header("Location", job.links.self);
  return c.json(job, 202);
}

function readWaitMs(c: Context<AppEnv>, fallbackS: number): number {
  const { wait = fallbackS } = validate(waitQuery, { wait: c.req.query("wait") });
  return Math.min(wait, maxWaitS) * 1_000;
}

function readAfter(c: Context<AppEnv>): number {
  const after = c.req.header("Last-Event-ID") ?? c.req.query("after") ?? "-1";
  return validate(afterQuery, { after }).after;
}
