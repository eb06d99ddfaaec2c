/**
 * What doors do with jobs: each door is a projection of jobs and their logs, and these are the ways from its routes to them.
 * Knows HTTP and jobs; knows no vendor's words.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Asked, Dialect, Job, JobEvent } from "@glimpse/contracts";
import { errorCode, isTerminal, jobEvent, jobId } from "@glimpse/contracts";
import type { Context } from "hono";
import type { AcceptDeps, Submission } from "../accept.ts";
import { createAccept } from "../accept.ts";
import { ApiError } from "../api-error.ts";
import { createCancel } from "../cancel.ts";
import type { Limits } from "../config.ts";
import type { AppEnv } from "../errors.ts";
import type { Followed, FollowDeps } from "../follow.ts";
import { follow, isGap, isIdle } from "../follow.ts";
import type { Gates } from "../limits/gates.ts";
import { readIdempotencyKey } from "../idempotency.ts";
import type { SseForm } from "../sse.ts";
import { answerWith, createSse, idleFrame } from "../sse.ts";
import { tenantOf } from "../tenant.ts";
import type { Waiting } from "../wait.ts";
import { createRetelling } from "./retelling.ts";

export type DoorDeps = AcceptDeps &
  FollowDeps & {
    limits: Limits;
    waiting: Waiting;
    closing: AbortSignal;
    streamStallMs: number;
    gates: Pick<Gates, "withBody">;
  };

export type DoorJob = { job: Job; asked: Asked | null };
type Terminal = Extract<JobEvent, { timings: unknown }>;
export type Project = ReturnType<typeof createProject>;

/** A day is the latest deadline that a job can have. */
const longestWaitMs = 86_400_000;

/** How long a job with an idempotency key outlives its client: a retry comes sooner. */
const retryGraceMs = 5_000;

export function createProject(deps: DoorDeps) {
  const { ledger, limits, log, waiting, closing } = deps;
  const accept = createAccept(deps);
  const sseStream = createSse({ closing, stallMs: deps.streamStallMs });
  const cancelJob = createCancel(deps);

  /** Throws ApiError `job_not_found`. */
  async function read(c: Context<AppEnv>, id: string | null): Promise<DoorJob> {
    const found = id === null ? null : await ledger.readAsked(id, tenantOf(c));
    if (found === null) throw noSuchJob();
    return found;
  }

  async function cancel(c: Context<AppEnv>, id: string): Promise<Job> {
    const job = await cancelJob(id, tenantOf(c));
    if (job === null) throw noSuchJob();
    return job;
  }

  /** The client of a foreground job has gone. With a key it may be about to ask again, here or elsewhere. */
  async function abandon(c: Context<AppEnv>, id: string): Promise<void> {
    try {
      if (c.req.header("Idempotency-Key") !== undefined) {
        await sleep(retryGraceMs, undefined, { ref: false });
        if ((await ledger.listeners(id)) > 0) return;
      }
      await cancelJob(id, tenantOf(c));
    } catch (error) {
      log.warn({ error, job: id }, "a job that nobody waits for goes on");
    }
  }

  return {
    read,
    cancel,

    /** Accepts the request's body as a job; the same key and body give the same one. Throws ApiErrors. */
    async submit(
      c: Context<AppEnv>,
      dialect: Dialect,
      more: Pick<Submission, "origin" | "fallback" | "complete"> = {},
    ): Promise<DoorJob> {
      const tenant = tenantOf(c);
      const key = readIdempotencyKey(c.req.header("Idempotency-Key"));
      const isChosen = key !== null;
      const id = isChosen ? ledger.keyedId(tenant, `POST ${c.req.path}`, key) : ledger.newId();
      // One that has been accepted before is answered, however much there is to do.
      if (!isChosen) await deps.admission.check(deps.served.version);
      const contentType = c.req.header("Content-Type") ?? "";
      const taken = await deps.gates.withBody(c, limits.bodyBytes, (bytes) =>
        accept({ bytes, contentType, tenant, id, isChosen, dialect, ...more }),
      );
      if (taken === null) c.header("Idempotent-Replayed", "true");
      const found = await ledger.readAsked(id, tenant);
      // It was accepted a moment ago: Redis has lost it, as a replica may that has just become the primary.
      if (found === null)
        throw new ApiError("unavailable", "The job could not be kept. Send it again.");
      return found;
    },

    /** The foreground job once it has succeeded; when its client goes, so does the job. Throws ApiErrors for any other end. */
    async awaitSuccess(c: Context<AppEnv>, { id }: Job): Promise<Job> {
      const job = await waiting.wait(c, id, longestWaitMs);
      if (job === null) throw noSuchJob();
      if (job.state === "succeeded") return job;
      if (isTerminal(job.state)) throw refusalOfEnd(job);
      if (c.req.raw.signal.aborted) void abandon(c, id);
      throw new ApiError("unavailable", "This server stops. Ask again.");
    },

    /** The job after up to `waitMs`, or as soon as it has ended. Its client may go without it. */
    async awaitEnd(c: Context<AppEnv>, { id }: Job, waitMs: number): Promise<Job> {
      const job = await waiting.wait(c, id, waitMs);
      if (job === null) throw noSuchJob();
      return job;
    },

    /** The job's log from its beginning in a door's words. A job in the foreground is canceled when its client goes. */
    stream(c: Context<AppEnv>, { job, asked }: DoorJob, form: SseForm): Response {
      const isForeground = asked?.background === false;
      const body = sseStream(
        (until) => follow(deps, job.id, -1, until),
        {
          onStall: () => {
            log.info({ job: job.id }, "cut a reader that does not read");
            c.env.outgoing?.destroy();
          },
          onGone: () => void (isForeground && abandon(c, job.id)),
          onError: (error) => log.warn({ error, job: job.id }, "event stream broke off"),
        },
        form,
      );
      return answerWith(c, body);
    },

    /** Removes the job with its log; one that has not ended is canceled first. */
    async remove(c: Context<AppEnv>, id: string | null): Promise<void> {
      const { job } = await read(c, id);
      if (!isTerminal(job.state)) await cancel(c, job.id);
      if ((await ledger.delete(job.id, tenantOf(c))) === "none") throw noSuchJob();
    },
  };
}

/** What a door's stream says. A stream says the same however often it is told, for whoever resumes it. */
export type Teller = {
  begin(): string;
  /** Said once, before any piece and the end. */
  running(): string;
  piece(type: "reasoning" | "delta", text: string): string;
  end(event: Terminal): string;
  /** The stream breaks off, and this is why. */
  refuse(error: ApiError): string;
};

/** A stream's form from what a door says. What is void is never told, and nothing ends as if it were whole when it is not. */
export function formOf(teller: Teller): SseForm {
  const retelling = createRetelling();
  let isRunning = false;
  let isOver = false;

  function run(): string {
    if (isRunning) return "";
    isRunning = true;
    return teller.running();
  }

  function breakOff(message: string): string {
    isOver = true;
    return teller.refuse(new ApiError("stream_broken", message));
  }

  function tell(event: JobEvent): string {
    switch (event.type) {
      case "queued":
        return "";
      case "running":
        return run();
      case "reset":
        retelling.restart();
        return "";
      case "delta":
      case "reasoning": {
        const fresh = retelling.tell(event.type, event.text);
        if (fresh === null) return breakOff("The job was started anew and says something else.");
        return fresh === "" ? "" : run() + teller.piece(event.type, fresh);
      }
      default:
        if (event.type === "succeeded" && !retelling.isWhole())
          return breakOff("The job was started anew and says less.");
        isOver = true;
        return run() + teller.end(event);
    }
  }

  return {
    opening: () => teller.begin(),
    frame(followed: Followed) {
      if (isOver) return "";
      if (isIdle(followed)) return idleFrame;
      if (isGap(followed)) return breakOff("Part of the answer is no longer kept.");
      const event = jobEvent.safeParse(followed).data; // a later release's are not for this one
      return event === undefined ? "" : tell(event);
    },
    ending(why) {
      if (isOver) return "";
      return breakOff(
        why === "closing" ? "This server stops. Ask again." : "The stream broke off.",
      );
    },
  };
}

/** Why an ended job has no answer. */
export function refusalOfEnd({ state, error }: Pick<Job, "error"> & { state: string }): ApiError {
  if (state === "canceled") return new ApiError("job_canceled", "The job was canceled.");
  const code = errorCode.safeParse(error?.code).data ?? "internal_error";
  return new ApiError(code, error?.message ?? "The job failed.");
}

/** A vendor's name for a job: another first part, the same rest; `resp_0_1f...` for `job_0_1f...`. */
export function nameOf(prefix: string, id: string): string {
  return id.replace(/^job_/, prefix);
}

/** The job that goes by that name, or null when no job can. */
export function jobOf(prefix: string, name: string | undefined): string | null {
  if (!name?.startsWith(prefix)) return null;
  return jobId.safeParse(`job_${name.slice(prefix.length)}`).data ?? null;
}

function noSuchJob(): ApiError {
  return new ApiError("job_not_found", "There is no such job.");
}
