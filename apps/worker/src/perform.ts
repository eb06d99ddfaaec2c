/** One job on the engine: from the ledger's record to its outcome. Knows the ledger and the engine; knows neither BullMQ nor HTTP. */
import type { TokenLogprob } from "@glimpse/contracts";
import { jobErrorOf } from "@glimpse/contracts";
import type { AnswerToken, GenerateRequest, Piece, SpelledScore } from "@glimpse/engine";
import { EngineError } from "@glimpse/engine";
import type { Argument, Attempt, Blobs, Keys, Ledger, Outcome, Subscriber } from "@glimpse/ledger";
import { BlobError, isRedisUnavailable } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import { persist } from "./persist.ts";
import type { PieceWriter } from "./pieces.ts";
import { createPieceWriter } from "./pieces.ts";
import { requestOf } from "./request.ts";

/** The part of the engine that performs; after `signal` aborts it ends soon, by return or by throw. */
export type Generator = {
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<Piece>;
};

export type PerformDeps = {
  engine: Generator;
  ledger: Ledger;
  blobs: Blobs;
  subscriber: Subscriber;
  keys: Keys;
  log: Logger;
  /** Pieces are written this far apart. */
  pieceIntervalMs: number;
};

/** Why a running job is stopped: by its client, by its deadline, for our own end, or because another attempt has taken over. */
type Stop = "canceled" | "expired" | "drain" | "stale";

/** Asked a little after the deadline, so that one question suffices. */
const deadlineSlackMs = 5;

const stopOf: Record<string, Stop> = { cancel: "canceled", expire: "expired" };

const refusals = {
  crashed: jobErrorOf("worker_crashed", "The job brought its workers down."),
  unreadable: jobErrorOf("internal_error", "The job's record cannot be read."),
};

/** `handed back`: queued again in the ledger, to be put back into the queue. `suspect`: likewise, or to be performed alone.
 * `postponed`: likewise, with this priority. */
export type Performed = "done" | "handed back" | "suspect" | { postponed: number };

/** Writes the end of a job that has been performed, and has BullMQ's step after it leave the queue; resolves to what that said. */
export type Finish = (leave: Argument[]) => Promise<unknown>;

/** Has the end written, now or later. */
export type End = (finish: Finish) => unknown;

/** `alone`: nothing else runs on this worker meanwhile. Rejects only when the ledger cannot be written. */
export type Perform = (
  id: string,
  alone: boolean,
  drain: AbortSignal,
  end?: End,
) => Promise<Performed>;

/** What stops an attempt, what of that comes from the worker, and how to stop it. */
type Stopping = { signal: AbortSignal; drain: AbortSignal; stopFor: (reason: Stop) => void };

export function createPerform(deps: PerformDeps): Perform {
  const { engine, ledger, blobs, subscriber, keys, log, pieceIntervalMs } = deps;
  /** How each job that is being performed is stopped: one listener hears for all of them. */
  const running = new Map<string, (reason: Stop) => void>();
  let listening: Promise<unknown> | undefined;

  return async function perform(id, alone, drain, end = (finish) => finish([])) {
    const stop = new AbortController();
    let deadline: NodeJS.Timeout | undefined;
    const stopFor = (reason: Stop) => stop.abort(reason);
    const onDrain = () => stopFor("drain");
    drain.addEventListener("abort", onDrain);
    try {
      // Listening begins before the attempt does: a cancel is then either heard, or seen by start.
      running.set(id, stopFor);
      await listen();
      const attempt = await start(id, alone);
      if (typeof attempt === "string" || "postponed" in attempt) return attempt;
      if (drain.aborted) onDrain();
      deadline = watchDeadline(attempt, () => stopFor("expired"));
      const finish = await performAttempt(attempt, { signal: stop.signal, drain, stopFor });
      if (typeof finish === "string") return finish;
      await end(finish);
      return "done";
    } finally {
      clearTimeout(deadline);
      if (running.get(id) === stopFor) running.delete(id);
      drain.removeEventListener("abort", onDrain);
    }
  };

  async function listen(): Promise<void> {
    listening ??= subscriber.subscribe(keys.control(ledger.shard), (message) => {
      const [word = "", job = ""] = message?.split(" ") ?? [];
      const reason = stopOf[word];
      if (reason !== undefined) running.get(job)?.(reason);
    });
    try {
      await listening;
    } catch (error) {
      listening = undefined;
      throw error;
    }
  }

  /** Our clock only says when to ask; whether the time is up, Redis's does. If asking fails, the courier's sweep finds it. */
  function watchDeadline({ id, leftMs }: Attempt, onExpired: () => void) {
    if (leftMs === null) return undefined;
    return setTimeout(() => {
      ledger.expire(id).then(
        (isOver) => isOver && onExpired(),
        (error: unknown) => log.warn({ error, job: id }, "could not ask whether the job is late"),
      );
    }, leftMs + deadlineSlackMs);
  }

  async function start(id: string, alone: boolean): Promise<Attempt | Performed> {
    const started = await ledger.start(id, alone);
    if (started === null || "ended" in started) {
      log.info({ job: id, ended: started?.ended ?? "gone" }, "nothing to do");
      return "done";
    }
    if (!("refused" in started)) return started; // an attempt, or postponed
    if (started.refused === "suspect") {
      log.warn({ job: id }, "a worker came down with this job; it is run alone");
      return "suspect";
    }
    log.error({ job: id, why: started.refused }, "job given up");
    await ledger.fail(id, refusals[started.refused]);
    return "done";
  }

  async function performAttempt(
    attempt: Attempt,
    { signal, drain, stopFor }: Stopping,
  ): Promise<Finish | "done" | "handed back"> {
    const { id } = attempt;
    const startedAt = performance.now();
    log.info({ job: id, attempt: attempt.attempt }, "job started");
    const writer = createPieceWriter(
      (pieces) => persist(() => ledger.append(attempt, pieces), signal),
      pieceIntervalMs,
      () => stopFor("stale"),
    );
    const generated = generate(attempt, signal, writer)
      .catch((error: unknown) => outcomeOf(error, signal, id))
      .then(async (outcome) => ({ outcome, rest: await writer.close() }));
    // A step of the engine can be long: when we have to leave, nobody waits for its end.
    const result = await Promise.race([generated, drained(signal)]).catch(
      async (error: unknown) => {
        await ledger.release(attempt); // it has not died with its worker
        throw error;
      },
    );
    generated.catch(() => {});
    const ms = Math.round(performance.now() - startedAt);
    if (signal.aborted || result === null) {
      const reason = signal.reason as Stop;
      log.info({ job: id, attempt: attempt.attempt, reason, ms }, "job stopped");
      return reason === "drain" && (await ledger.release(attempt)) ? "handed back" : "done";
    }
    const { outcome, rest } = result;
    return async function finish(leave) {
      const write = () => ledger.finishAndLeave(attempt, outcome, rest, leave);
      const { final, left } = await persist(write, drain);
      const { state, usage } = outcome;
      const code = outcome.error?.code;
      log.info({ job: id, attempt: attempt.attempt, state, code, final, ms, usage }, "job ended");
      return left;
    };
  }

  async function generate(
    attempt: Attempt,
    signal: AbortSignal,
    writer: PieceWriter,
  ): Promise<Outcome> {
    const request = await requestOf(attempt.input, blobs);
    const said = { delta: "", reasoning: "" };
    let end: Extract<Piece, { type: "end" }> | undefined;
    for await (const piece of engine.generate(request, signal)) {
      if (piece.type === "end") end = piece;
      if (piece.type !== "delta" && piece.type !== "reasoning") continue;
      said[piece.type] += piece.text;
      writer.write(piece);
    }
    if (end === undefined) throw new Error("The engine ended without an end.");
    const { promptTokens, imageTokens, completionTokens } = end.usage;
    return {
      state: "succeeded",
      output: {
        text: said.delta,
        reasoning: said.reasoning || null,
        finish_reason: end.finishReason,
        ...(end.logprobs && { logprobs: end.logprobs.map(logprobOf) }),
      },
      usage: {
        prompt_tokens: promptTokens,
        image_tokens: imageTokens,
        completion_tokens: completionTokens,
      },
    };
  }

  /** The job's fault or the engine's ends the job; Redis's or the pictures' store's does not, since the job can be tried again. */
  function outcomeOf(error: unknown, signal: AbortSignal, id: string): Outcome {
    if (isRedisUnavailable(error) || error instanceof BlobError) throw error;
    if (error instanceof EngineError && error.code !== "engine_failure") {
      return { state: "failed", error: jobErrorOf(error.code, error.message) };
    }
    if (!signal.aborted) log.error({ error, job: id }, "the engine failed");
    return {
      state: "failed",
      error: jobErrorOf("engine_failure", "The engine failed on this job."),
    };
  }
}

/** In the contracts' words. */
function logprobOf({ top, ...own }: AnswerToken): TokenLogprob {
  const said = ({ bytes, logprob }: SpelledScore) => ({
    token: Buffer.from(bytes).toString(),
    bytes,
    logprob,
  });
  return { ...said(own), top_logprobs: top.map(said) };
}

/** Resolves to null when the signal aborts because the worker has to leave. */
function drained(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    const check = () => {
      if (signal.aborted && signal.reason === "drain") resolve(null);
    };
    check();
    signal.addEventListener("abort", check, { once: true });
  });
}
