/** `/v1/batches`: files of requests, each line a job. */
import { randomBytes } from "node:crypto";
import type { KeptBatch } from "@glimpse/contracts";
import { batchLine, batchRequest, errorCodes, isTerminal } from "@glimpse/contracts";
import { Hono } from "hono";
import { z } from "zod";
import { ApiError } from "../../api-error.ts";
import { readBody } from "../../body.ts";
import type { AppEnv } from "../../errors.ts";
import { parseJson } from "../../json.ts";
import { tenantOf } from "../../tenant.ts";
import { validate } from "../../validate.ts";
import type { BatchDeps, BatchForm } from "../batch-runner.ts";
import { linesOf } from "../batch-runner.ts";
import { refusalOfEnd } from "../project.ts";
import { completionOf } from "../openai/chat.ts";
import { responseOf } from "../openai/responses.ts";
import { errorOf, listOf, seconds } from "../shapes.ts";
import { noSuchFile, pageQuery } from "./files.ts";

const windowMs = 86_400_000;
const maxLines = 50_000;

export function batchRoutes({ files, batches }: BatchDeps) {
  const app = new Hono<AppEnv>();

  app.post("/v1/batches", async (c) => {
    const tenant = tenantOf(c);
    const body = validate(batchRequest, parseJson(await readBody(c.req.raw, 65_536)));
    const file = await files.get(tenant, body.input_file_id);
    const bytes = file && (await files.read(file));
    if (file === null || bytes === null) throw noSuchFile();
    const lines = linesOf(bytes).length;
    if (lines === 0 || lines > maxLines) {
      const message = `The file has ${lines} lines; a batch has 1 to ${maxLines}.`;
      throw new ApiError("invalid_request", message, "input_file_id");
    }
    const id = `batch_${randomBytes(16).toString("hex")}`;
    const createdMs = Date.now();
    const batch: KeptBatch = {
      file: body.input_file_id,
      digest: file.digest,
      endpoint: body.endpoint,
      metadata: body.metadata ?? {},
      createdMs,
      expiresMs: createdMs + windowMs,
      lines,
      next: 0,
      settled: 0,
      succeeded: 0,
      counts: { succeeded: 0, failed: 0 },
      cancelMs: null,
      end: null,
      endMs: null,
      outputFile: null,
      errorFile: null,
    };
    await batches.create(tenant, id, batch);
    return c.json(batchOf(id, batch));
  });

  app.get("/v1/batches", async (c) => {
    const { limit, after } = validate(pageQuery, c.req.query());
    const found = await batches.list(tenantOf(c), limit + 1, after ?? null);
    const data = found.slice(0, limit).map(({ id, thing }) => batchOf(id, thing));
    return c.json(listOf(data, found.length > limit));
  });

  app.get("/v1/batches/:id", async (c) => {
    const id = c.req.param("id");
    return c.json(batchOf(id, await read(tenantOf(c), id)));
  });

  app.post("/v1/batches/:id/cancel", async (c) => {
    const [tenant, id] = [tenantOf(c), c.req.param("id")];
    const batch = await read(tenant, id);
    if (batch.end !== null || batch.cancelMs !== null) return c.json(batchOf(id, batch));
    const cancelMs = Date.now();
    await batches.patch(tenant, id, { cancelMs });
    return c.json(batchOf(id, { ...batch, cancelMs }));
  });

  async function read(tenant: string, id: string): Promise<KeptBatch> {
    const batch = await batches.get(tenant, id);
    if (batch === null) throw new ApiError("batch_not_found", "There is no such batch.");
    return batch;
  }

  return app;
}

const secondsOf = (ms: number | null) => (ms === null ? null : seconds(ms));

function statusOf({ end, cancelMs, next, lines, counts }: KeptBatch): string {
  if (end !== null) return end === "canceled" ? "cancelled" : end;
  if (cancelMs !== null) return "cancelling";
  return next === lines && counts.succeeded + counts.failed === lines
    ? "finalizing"
    : "in_progress";
}

function batchOf(id: string, batch: KeptBatch) {
  const endedAs = (end: KeptBatch["end"]) => (batch.end === end ? secondsOf(batch.endMs) : null);
  return {
    id,
    object: "batch",
    endpoint: batch.endpoint,
    errors: null,
    input_file_id: batch.file,
    completion_window: "24h",
    status: statusOf(batch),
    output_file_id: batch.outputFile,
    error_file_id: batch.errorFile,
    created_at: secondsOf(batch.createdMs),
    in_progress_at: secondsOf(batch.createdMs),
    expires_at: secondsOf(batch.expiresMs),
    finalizing_at: secondsOf(batch.endMs),
    completed_at: endedAs("completed"),
    failed_at: endedAs("failed"),
    expired_at: endedAs("expired"),
    cancelling_at: secondsOf(batch.cancelMs),
    cancelled_at: endedAs("canceled"),
    request_counts: {
      total: batch.lines,
      completed: batch.counts.succeeded,
      failed: batch.counts.failed,
    },
    metadata: batch.metadata,
  };
}

/** How batches' lines are read and answered. */
export const batchForm: BatchForm = {
  dialect: "openai.batch",
  noticeOf: batchOf,
  lineOf(settled, bytes, number) {
    const id = `batch_req_${number}`;
    if ("refused" in settled) {
      const { status, error } = settled.refused;
      const response = { status_code: status, request_id: id, body: { error } };
      return JSON.stringify({ id, custom_id: customIdOf(bytes), response, error: null });
    }
    const { job, asked } = settled;
    const custom_id = asked?.customId ?? null;
    if (job.state === "succeeded") {
      const body = asked?.door === "openai.chat" ? completionOf(job) : responseOf(settled);
      const response = { status_code: 200, request_id: id, body };
      return JSON.stringify({ id, custom_id, response, error: null });
    }
    const refusal = refusalOfEnd({
      state: isTerminal(job.state) ? job.state : "failed",
      error: job.error,
    });
    const { status } = errorCodes[refusal.code];
    const response = { status_code: status, request_id: id, body: { error: errorOf(refusal) } };
    return JSON.stringify({ id, custom_id, response, error: null });
  },
};

/** What a line that was refused is called, if that can be read. */
function customIdOf(bytes: Uint8Array): string | null {
  try {
    return z.object({ custom_id: batchLine.shape.custom_id }).parse(parseJson(bytes)).custom_id;
  } catch {
    return null;
  }
}
