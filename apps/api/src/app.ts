/** The routes. Knows HTTP and what the other files do; knows neither Redis nor BullMQ nor the environment. */
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { Job } from "@glimpse/contracts";
import { isTerminal, jobId } from "@glimpse/contracts";
import type { LoopDelay } from "@glimpse/telemetry";
import { serveStatic } from "@hono/node-server/serve-static";
import type { Context } from "hono";
import { Hono } from "hono";
import { etag } from "hono/etag";
import { requestId } from "hono/request-id";
import { z } from "zod";
import type { AcceptDeps } from "./accept.ts";
import { createAccept } from "./accept.ts";
import { ApiError } from "./api-error.ts";
import { readBody } from "./body.ts";
import type { Limits } from "./config.ts";
import type { AppEnv } from "./errors.ts";
import { createErrorHandler } from "./errors.ts";
import type { FollowDeps } from "./follow.ts";
import { follow, waitForEnd } from "./follow.ts";
import { securityHeaders } from "./headers.ts";
import { readChosenId, readIdempotencyKey } from "./idempotency.ts";
import { listModels, readReadiness } from "./health.ts";
import { createLeaving } from "./leaving.ts";
import { listJobs } from "./list-jobs.ts";
import { openApiDocument } from "./openapi.ts";
import { createReadPlace } from "./queue-place.ts";
import { createSse, sseHeaders } from "./sse.ts";
import { tenantOf } from "./tenant.ts";
import { validate } from "./validate.ts";

export type AppDeps = AcceptDeps &
  FollowDeps & {
    limits: Limits;
    /** Aborts when the process is about to stop: long answers end, and their clients come back elsewhere. */
    closing: AbortSignal;
    /** How long a reader of events may read nothing. */
    streamStallMs: number;
    loopDelay: () => LoopDelay;
  };

const publicFolder = fileURLToPath(new URL("../public", import.meta.url));
const waitQuery = z.object({ wait: z.coerce.number().min(0).optional() });
const afterQuery = z.object({ after: z.coerce.number().int().min(-1) });
const maxWaitS = 60;

export function createApp(deps: AppDeps): Hono<AppEnv> {
  const { ledger, queues, served, limits, log, closing } = deps;
  const accept = createAccept(deps);
  const readPlace = createReadPlace(deps);
  const leaving = createLeaving(closing);
  const sseStream = createSse({ closing, stallMs: deps.streamStallMs });
  const app = new Hono<AppEnv>();

  app.use(requestId());
  app.use(securityHeaders);
  // Whoever keeps a connection to a process that stops would meet its end with the next request.
  app.use(async (c, next) => {
    await next();
    if (closing.aborted) c.header("Connection", "close");
  });
  app.onError(createErrorHandler(log));
  app.notFound((c) => {
    throw new ApiError("not_found", `There is nothing at ${c.req.path}.`);
  });

  app.post("/v1/jobs", async (c) => {
    return accepted(c, await recorded(c, await submit(c, keyedId(c))));
  });

  app.put("/v1/jobs/:id", async (c) => {
    const id = readChosenId(c.req.param("id"), ledger.shard);
    return accepted(c, await recorded(c, await submit(c, id)));
  });

  app.get("/v1/jobs", async (c) => {
    return c.json(await listJobs(ledger, tenantOf(c), c.req.queries()));
  });

  app.post("/v1/infer", async (c) => {
    const waitMs = readWaitMs(c, 30);
    const id = await submit(c, keyedId(c));
    const job = await wait(c, id, waitMs);
    if (job === null) throw new ApiError("job_not_found", "The job was deleted.");
    return isTerminal(job.state) ? c.json(job) : accepted(c, job);
  });

  app.get("/v1/jobs/:id", etag(), async (c) => {
    const waitMs = readWaitMs(c, 0);
    const job = await wait(c, readJobId(c), waitMs);
    if (job === null) throw noSuchJob();
    const body = JSON.stringify({ ...job, queue: await readPlace(job) });
    c.header("ETag", `"${createHash("sha1").update(body).digest("base64url")}"`);
    c.header("Cache-Control", "no-cache");
    c.header("Content-Type", "application/json");
    return c.body(body);
  });

  app.get("/v1/jobs/:id/events", async (c) => {
    const after = readAfter(c);
    const job = await existing(c, readJobId(c));
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
    return c.body(stream, 200, sseHeaders);
  });

  app.post("/v1/jobs/:id/cancel", async (c) => {
    const id = readJobId(c);
    if (!(await ledger.cancel(id, tenantOf(c)))) throw noSuchJob();
    const job = await existing(c, id);
    // If it stays in the queue, the worker that takes it sees that it has ended.
    await queues
      .remove({ id, version: job.version })
      .catch((error: unknown) => log.warn({ error, job: id }, "not removed from the queue"));
    return c.json(job);
  });

  app.delete("/v1/jobs/:id", async (c) => {
    const outcome = await ledger.delete(readJobId(c), tenantOf(c));
    if (outcome === "none") throw noSuchJob();
    if (outcome === "not ended")
      throw new ApiError("job_not_ended", "The job has not ended. Cancel it, then delete it.");
    return c.body(null, 204);
  });

  app.get("/v1/models", async (c) => c.json(await listModels(ledger, served)));
  app.get("/healthz", (c) => c.json({ status: "ok", event_loop_delay_ms: deps.loopDelay() }));
  app.get("/ready", async (c) => {
    const readiness = await readReadiness(ledger, deps.subscriber, served);
    return c.json(readiness, readiness.ready ? 200 : 503);
  });
  app.get("/openapi.json", (c) => c.json(openApiDocument));
  for (const { path } of [...app.routes].filter(({ method }) => method !== "ALL")) {
    app.all(path, (c) => {
      throw new ApiError(
        "method_not_allowed",
        `${c.req.method} is not possible here; see /openapi.json.`,
      );
    });
  }
  app.get("*", serveStatic({ root: publicFolder }));

  /** The job's id. `chosenId` is the one that the request wants for it, if it does. */
  async function submit(c: Context<AppEnv>, chosenId: string | null): Promise<string> {
    const { id, isNew } = await accept({
      bytes: await readBody(c.req.raw, limits.bodyBytes),
      contentType: c.req.header("Content-Type") ?? "",
      tenant: tenantOf(c),
      chosenId,
    });
    if (!isNew) c.header("Idempotent-Replayed", "true");
    return id;
  }

  function keyedId(c: Context<AppEnv>): string | null {
    const key = readIdempotencyKey(c.req.header("Idempotency-Key"));
    return key === null ? null : ledger.keyedId(tenantOf(c), `${c.req.method} ${c.req.path}`, key);
  }

  async function existing(c: Context<AppEnv>, id: string): Promise<Job> {
    const job = await ledger.read(id, tenantOf(c));
    if (job === null) throw noSuchJob();
    return job;
  }

  /** A job that was accepted a moment ago: if it is gone, Redis has lost it, as a replica may that has just become the primary. */
  async function recorded(c: Context<AppEnv>, id: string): Promise<Job> {
    const job = await ledger.read(id, tenantOf(c));
    if (job === null)
      throw new ApiError("unavailable", "The job could not be kept. Send it again.");
    return job;
  }

  /** The job when it has ended, or when there is nobody any more who waits for that. */
  async function wait(c: Context<AppEnv>, id: string, waitMs: number): Promise<Job | null> {
    if (waitMs === 0) return ledger.read(id, tenantOf(c));
    const until = leaving.enter();
    c.req.raw.signal.addEventListener("abort", () => until.abort("gone"));
    try {
      return await waitForEnd(deps, id, tenantOf(c), waitMs, until.signal);
    } finally {
      leaving.leave(until);
    }
  }

  return app;
}

function accepted(c: Context<AppEnv>, job: Job): Response {
  c.header("Location", job.links.self);
  return c.json(job, 202);
}

/** An id that cannot be one is like one that is not there. */
function readJobId(c: Context<AppEnv>): string {
  const id = jobId.safeParse(c.req.param("id"));
  if (!id.success) throw noSuchJob();
  return id.data;
}

function noSuchJob(): ApiError {
  return new ApiError("job_not_found", "There is no such job.");
}

function readWaitMs(c: Context<AppEnv>, fallbackS: number): number {
  const { wait = fallbackS } = validate(waitQuery, c.req.query());
  return Math.min(wait, maxWaitS) * 1_000;
}

function readAfter(c: Context<AppEnv>): number {
  const after = c.req.header("Last-Event-ID") ?? c.req.query("after") ?? "-1";
  return validate(afterQuery, { after }).after;
}
