/**
 * Makes jobs of batches' lines, and files of their answers. Any API process works on any batch, one at a time by its lease; a
 * line's job has the id that its batch and number give it, so whoever goes on where another died makes no line twice.
 * Knows jobs and files; what a line and its answer look like is its door's.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { BatchEnd, Dialect, KeptBatch, Problem } from "@glimpse/contracts";
import { errorCodes, isTerminal, problem, problemOf } from "@glimpse/contracts";
import type { Batches, Files, Notice } from "@glimpse/ledger";
import { createAccept } from "../accept.ts";
import { ApiError } from "../api-error.ts";
import { createCancel } from "../cancel.ts";
import { refusalOf } from "../errors.ts";
import type { DoorDeps, DoorJob } from "./project.ts";

export type BatchDeps = DoorDeps & {
  files: Files;
  batches: Batches;
  /** Has the tenant's webhooks told of it; again with the same id changes nothing. */
  announce: (notice: Notice) => Promise<void>;
};

/** What became of a line: an ended job, or why there is none. */
type Settled = DoorJob | { refused: Problem };

export type BatchForm = {
  dialect: Dialect;
  /** A line of the file of answers or of errors, without its end. */
  lineOf: (settled: Settled, bytes: Uint8Array, number: number) => string;
  /** What webhooks are told. */
  noticeOf: (id: string, batch: KeptBatch) => object;
};

/** `lines` are the file's that are not empty. */
type Work = { tenant: string; id: string; batch: KeptBatch; lines: Uint8Array[] };

const passEveryMs = 1_000;
const leaseMs = 10_000;
/** Lines that are submitted, or made into files, before the lease is prolonged. */
const portion = 100;
const atOnce = 8;
/** States that are read in one round trip, and at most in one pass. */
const [lookedAt, lookedAtInAll] = [500, 4_000];

/** Runs until `deps.closing`. */
export function runBatches(deps: BatchDeps, { dialect, lineOf, noticeOf }: BatchForm): void {
  const { ledger, files, batches, announce, log, closing } = deps;
  const accept = createAccept(deps);
  const cancel = createCancel(deps);
  const worker = randomUUID();
  const jobOf = (id: string, line: number) => ledger.keyedId("batch", id, String(line));

  async function keepRunning(): Promise<void> {
    while (!closing.aborted) {
      await pass().catch((error: unknown) => log.warn({ error }, "batches stand still"));
      await sleep(passEveryMs, undefined, { signal: closing, ref: false }).catch(() => {});
    }
  }

  /** One step further with each batch that nobody else works on. */
  async function pass(): Promise<void> {
    for (const { tenant, id } of await batches.open()) {
      if (closing.aborted || !(await batches.lease(id, worker, leaseMs))) continue;
      const batch = await batches.get(tenant, id);
      if (batch === null || batch.end !== null) await batches.end(tenant, id);
      else await advance(tenant, id, batch);
    }
  }

  async function advance(tenant: string, id: string, batch: KeptBatch): Promise<void> {
    const bytes = await files.read(batch);
    const work = { tenant, id, batch, lines: bytes === null ? [] : linesOf(bytes) };
    if (bytes === null) return finish(work, "failed");
    while (batch.next < work.lines.length && (await mayGoOn(work)) && (await submitSome(work)));
    const isLate = Date.now() >= batch.expiresMs;
    if (batch.cancelMs !== null) await cancelRest(work);
    if (batch.cancelMs !== null || isLate) batch.next = work.lines.length;
    await settle(work);
    if (batch.settled < work.lines.length) return;
    await finish(work, batch.cancelMs !== null ? "canceled" : isLate ? "expired" : "completed");
  }

  async function mayGoOn({ tenant, id, batch }: Work): Promise<boolean> {
    batch.cancelMs = (await batches.get(tenant, id))?.cancelMs ?? null;
    const isOver = batch.cancelMs !== null || Date.now() >= batch.expiresMs;
    return !isOver && !closing.aborted && (await batches.lease(id, worker, leaseMs));
  }

  /** False: the rest has to wait. */
  async function submitSome(work: Work): Promise<boolean> {
    const { tenant, id, batch, lines } = work;
    const end = Math.min(batch.next + portion, lines.length);
    let isTaken = true;
    while (isTaken && batch.next < end) {
      const some = lines.slice(batch.next, Math.min(batch.next + atOnce, end));
      const taken = await Promise.all(some.map((line, i) => submit(work, line, batch.next + i)));
      isTaken = !taken.includes(false);
      batch.next += isTaken ? taken.length : taken.indexOf(false);
    }
    await batches.patch(tenant, id, { next: batch.next });
    return isTaken;
  }

  async function submit({ tenant, id, batch }: Work, line: Uint8Array, number: number) {
    try {
      await accept({
        bytes: new Uint8Array(line), // a thread takes its own away
        contentType: "application/json",
        tenant,
        id: jobOf(id, number),
        isChosen: true,
        dialect,
        fallback: { priority: "low", deadlineMs: Math.max(1, batch.expiresMs - Date.now()) },
      });
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === null) log.error({ error, batch: id, line: number }, "a line was not taken");
      const { code, message, param } =
        refusal ?? new ApiError("internal_error", "Something went wrong on our side.");
      const { status } = errorCodes[code];
      if (status === 429 || status === 503) return false;
      await batches.refuse(id, number, JSON.stringify(problemOf(code, message, param, id)));
    }
    return true;
  }

  async function cancelRest({ tenant, id, batch }: Work): Promise<void> {
    for (let from = batch.settled; from < batch.next; from += portion) {
      const ids = span(from, Math.min(from + portion, batch.next)).map((line) => jobOf(id, line));
      await Promise.all(ids.map((job) => cancel(job, tenant)));
      await batches.lease(id, worker, leaseMs);
    }
  }

  /** Counts what has ended. Jobs end about in order, so that what lies far ahead need not be looked at. */
  async function settle({ tenant, id, batch }: Work): Promise<void> {
    const counts = { succeeded: batch.succeeded, failed: batch.settled - batch.succeeded };
    const last = Math.min(batch.next, batch.settled + lookedAtInAll);
    let isFront = true;
    for (let from = batch.settled; from < last; from += lookedAt) {
      const ids = span(from, Math.min(from + lookedAt, last)).map((line) => jobOf(id, line));
      for (const state of await ledger.states(ids)) {
        if (state === null || isTerminal(state)) {
          counts[state === "succeeded" ? "succeeded" : "failed"]++;
          if (isFront) batch.settled++;
          if (isFront && state === "succeeded") batch.succeeded++;
        } else isFront = false;
      }
    }
    batch.counts = counts;
    const { next, settled, succeeded } = batch;
    await batches.patch(tenant, id, { next, settled, succeeded, counts });
  }

  async function finish(work: Work, end: BatchEnd): Promise<void> {
    const { tenant, id, batch, lines } = work;
    const said: Record<"output" | "errors", string[]> = { output: [], errors: [] };
    for (let from = 0; from < lines.length; from += portion) {
      const numbers = span(from, Math.min(from + portion, lines.length));
      const settled = await Promise.all(numbers.map((number) => settledOf(work, number, end)));
      for (const [i, one] of settled.entries()) {
        const isAnswer = "job" in one && one.job.state === "succeeded";
        const line = lineOf(one, lines[from + i] ?? new Uint8Array(), from + i);
        said[isAnswer ? "output" : "errors"].push(`${line}\n`);
      }
      await batches.lease(id, worker, leaseMs);
    }
    const keep = async (kind: keyof typeof said): Promise<string | null> => {
      if (said[kind].length === 0) return null;
      const bytes = new Uint8Array(Buffer.from(said[kind].join("")));
      const name = `${id}_${kind}.jsonl`;
      return (await files.create(tenant, name, "batch_output", bytes, name)).id;
    };
    const outputFile = await keep("output");
    const errorFile = await keep("errors");
    const ended = { end, endMs: Date.now(), outputFile, errorFile };
    const data = noticeOf(id, { ...batch, ...ended });
    await announce({ id: `${id}_end`, tenant, type: `batch.${end}`, data });
    await batches.patch(tenant, id, ended);
    await batches.end(tenant, id);
    log.info({ batch: id, end, lines: lines.length }, "batch ended");
  }

  async function settledOf({ tenant, id }: Work, line: number, end: BatchEnd): Promise<Settled> {
    const found = await ledger.readAsked(jobOf(id, line), tenant);
    if (found !== null) return found;
    const refusal = await batches.refusal(id, line);
    if (refusal !== null) return { refused: problem.parse(JSON.parse(refusal)) };
    const code = `batch_${end === "canceled" ? "canceled" : "expired"}` as const;
    return { refused: problemOf(code, "The line was never run.", null, id) };
  }

  void keepRunning();
}

function span(from: number, end: number): number[] {
  return Array.from({ length: end - from }, (_, i) => from + i);
}

/** The lines that are not empty; none is copied. */
export function linesOf(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start < bytes.length;) {
    const found = bytes.indexOf(0x0a, start);
    const end = found === -1 ? bytes.length : found;
    const line = bytes.subarray(start, end);
    if (line.some((byte) => byte > 0x20)) lines.push(line);
    start = end + 1;
  }
  return lines;
}
