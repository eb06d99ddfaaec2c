/** Replicate's API in front of jobs: its official clients work by changing their base URL to `/replicate/v1`. */
import type { Dialect, Prediction } from "@glimpse/contracts";
import { isTerminal, jobId, predictionEcho, predictionId, predictionOf } from "@glimpse/contracts";
import type { Endpoints } from "@glimpse/ledger";
import type { Context } from "hono";
import { Hono } from "hono";
import { z } from "zod";
import { ApiError } from "../../api-error.ts";
import type { AppEnv } from "../../errors.ts";
import type { Links } from "../../links.ts";
import { listJobs } from "../../list-jobs.ts";
import { listModels } from "../../health.ts";
import { originOf } from "../../origin.ts";
import { validate } from "../../validate.ts";
import type { DoorDeps, DoorJob, Project } from "../project.ts";
import { createProject, formOf } from "../project.ts";
import { tenantOf } from "../../tenant.ts";
import type { FilesDeps } from "./files.ts";
import { fileRoutes } from "./files.ts";
import { predictionTeller } from "./stream.ts";

export type ReplicateDeps = DoorDeps &
  FilesDeps & {
    auth: { links: Links };
    endpoints: Pick<Endpoints, "ownSecrets">;
  };

const root = "/replicate/v1";
const maxWaitS = 60;
/** A stream's address is asked for at once; whoever comes later asks for the prediction again. */
const streamLifeMs = 3_600_000;

export function replicateDoor(deps: ReplicateDeps) {
  const { ledger, served } = deps;
  const project = createProject(deps);
  const app = new Hono<AppEnv>().route("/", fileRoutes(deps));

  app.post(`${root}/predictions`, (c) => create(c, "replicate"));
  app.post(`${root}/models/:owner/:name/predictions`, async (c) => {
    const { data } = await listModels(ledger, served);
    if (!data.some(({ id }) => id === c.req.param("name")))
      throw new ApiError("model_not_found", "There is no such model; see /replicate/v1/models.");
    return create(c, "replicate.model");
  });

  app.get(`${root}/predictions`, async (c) => {
    const { data, next_cursor } = await listJobs(ledger, tenantOf(c), c.req.queries());
    const all = await Promise.all(data.map(({ id }) => project.read(c, id)));
    const next = next_cursor === null ? null : nextOf(c, next_cursor);
    return c.json({ previous: null, next, results: await Promise.all(all.map(show(c))) });
  });
  app.get(`${root}/predictions/:id`, async (c) => c.json(await show(c)(await find(c, project))));

  // Cancelling what has ended already is no error: clients do so after each wait that was broken off.
  app.post(`${root}/predictions/:id/cancel`, async (c) => {
    const { job, asked } = await find(c, project);
    return c.json(await show(c)({ job: await project.cancel(c, job.id), asked }));
  });

  app.get(`${root}/predictions/:id/stream`, async (c) => {
    const found = await find(c, project);
    return project.stream(c, found, formOf(predictionTeller(found.job)));
  });

  app.get(`${root}/models`, async (c) => {
    const { data } = await listModels(ledger, served);
    return c.json({ previous: null, next: null, results: data.map((model) => modelOf(c, model)) });
  });
  app.get(`${root}/models/:owner/:name`, async (c) => {
    const { data } = await listModels(ledger, served);
    const model = data.find(({ id }) => id === c.req.param("name"));
    if (model === undefined) throw new ApiError("model_not_found", "There is no such model.");
    return c.json(modelOf(c, model));
  });

  app.get(`${root}/webhooks/default/secret`, async (c) => {
    c.header("Cache-Control", "no-store");
    const [key] = await deps.endpoints.ownSecrets(tenantOf(c));
    return c.json({ key });
  });

  async function create(c: Context<AppEnv>, dialect: Dialect): Promise<Response> {
    const waitMs = readPreferredWait(c);
    const fallback = readCancelAfter(c);
    const origin = originOf(c, deps.publicUrl);
    const submitted = await project.submit(c, dialect, { origin, fallback });
    const job = waitMs === null ? submitted.job : await project.awaitEnd(c, submitted.job, waitMs);
    const prediction = await show(c)({ ...submitted, job });
    if (isTerminal(job.state)) return c.json(prediction, 201);
    if (waitMs !== null) c.header("Preference-Applied", `wait=${waitMs / 1_000}`);
    // Clients take "processing" for an end that has no output.
    return c.json({ ...prediction, status: "starting", output: null }, 202);
  }

  /** The job as a prediction, with addresses that work for whoever asks. */
  function show(c: Context<AppEnv>) {
    const origin = originOf(c, deps.publicUrl);
    return async ({ job, asked }: DoorJob): Promise<Prediction> => {
      const path = `${root}/predictions/${predictionId(job.id)}`;
      const { tenant, key } = c.get("caller");
      const expiresAt = new Date(Date.now() + streamLifeMs);
      // Clients send no credentials there.
      const stream = await deps.auth.links.sign(`${path}/stream`, { tenant, key, expiresAt });
      const urls = {
        get: `${origin}${path}`,
        cancel: `${origin}${path}/cancel`,
        stream: `${origin}${stream}`,
        web: `${origin}/`,
      };
      return predictionOf(job, predictionEcho.parse(asked?.echo ?? {}), urls);
    };
  }

  /** Absolute: clients would put another `/v1` before anything else. */
  function nextOf(c: Context<AppEnv>, cursor: string): string {
    const next = new URL(`${originOf(c, deps.publicUrl)}${root}/predictions`);
    for (const [name, value] of Object.entries(c.req.query())) next.searchParams.set(name, value);
    next.searchParams.set("cursor", cursor);
    return next.href;
  }

  function modelOf(c: Context<AppEnv>, { id, versions }: ModelEntry) {
    return {
      owner: "glimpse",
      name: id,
      url: `${originOf(c, deps.publicUrl)}${root}/models/glimpse/${id}`,
      description: null,
      visibility: "private",
      latest_version: { id: versions[0]?.id ?? id },
    };
  }

  return app;
}

type ModelEntry = Awaited<ReturnType<typeof listModels>>["data"][number];

async function find(c: Context<AppEnv>, project: Project): Promise<DoorJob> {
  const id = jobId.safeParse(`job_${c.req.param("id")}`);
  return project.read(c, id.success ? id.data : null);
}

/** `Prefer: wait` and `wait=5`, in milliseconds; null when the client does not want to wait. */
function readPreferredWait(c: Context<AppEnv>): number | null {
  const wait = /(?:^|[\s,;])wait(?:=(\d{1,6}))?(?:$|[\s,;])/.exec(c.req.header("Prefer") ?? "");
  return wait === null ? null : Math.min(Number(wait[1] ?? maxWaitS), maxWaitS) * 1_000;
}

const units: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000 };
const duration = z.string().regex(/^(\d{1,6}[smh]?)+$/, "must be like 90s or 1m30s");

/** `Cancel-After: 90s`. */
function readCancelAfter(c: Context<AppEnv>): { deadlineMs?: number } {
  const text = c.req.header("Cancel-After");
  if (text === undefined) return {};
  const { after } = validate(z.object({ after: duration }), { after: text });
  const parts = [...after.matchAll(/(\d+)([smh]?)/g)];
  const ms = parts.reduce((sum, [, n, unit]) => sum + Number(n) * (units[unit || "s"] ?? 0), 0);
  return { deadlineMs: Math.max(1, Math.min(ms, 86_400_000)) };
}
