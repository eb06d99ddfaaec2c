/** One job on the engine: from the ledger's record to its outcome. Knows the ledger and the engine; knows neither BullMQ nor HTTP. */
import type { Options } from "@glimpse/contracts";
import { jobErrorOf } from "@glimpse/contracts";
import type { GenerateRequest, Message, Piece } from "@glimpse/engine";
import { EngineError } from "@glimpse/engine";
import type { Attempt, Blobs, Keys, Ledger, Outcome, Subscriber } from "@glimpse/ledger";
import { isRedisUnavailable } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import { createPieceWriter } from "./pieces.ts";

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

/** Why a running job is stopped: its client, our own end, or a newer attempt (or an end) that made this one stale. */
type Stop = "canceled" | "drain" | "stale";

export type Perform = (id: string, drain: AbortSignal) => Promise<"done" | "handed back">;

/**
 * The returned function rejects only when the ledger cannot be written. "handed back": the job is queued again in the ledger
 * and the caller puts it back into the queue.
 */
export function createPerform(deps: PerformDeps): Perform {
  const { engine, ledger, blobs, subscriber, keys, log, pieceIntervalMs } = deps;

  return async function perform(id, drain) {
    const stop = new AbortController();
    const stopFor = (reason: Stop) => stop.abort(reason);
    const onDrain = () => stopFor("drain");
    drain.addEventListener("abort", onDrain);
    // Listening begins before the attempt does: a cancel is then either heard, or seen by start.
    const unlisten = await subscriber.subscribe(keys.control(id), (word) => {
      if (word === "cancel") stopFor("canceled");
    });
    try {
      const attempt = await ledger.start(id);
      if (attempt === null || "ended" in attempt) {
        log.info({ job: id, ended: attempt?.ended ?? "gone" }, "nothing to do");
        return "done";
      }
      if (drain.aborted) onDrain();
      return await performAttempt(attempt, stop.signal, stopFor);
    } finally {
      unlisten();
      drain.removeEventListener("abort", onDrain);
    }
  };

  async function performAttempt(
    attempt: Attempt,
    signal: AbortSignal,
    stopFor: (reason: Stop) => void,
  ): Promise<"done" | "handed back"> {
    const { id } = attempt;
    const startedAt = performance.now();
    log.info({ job: id, attempt: attempt.attempt }, "job started");
    const result = await generate(attempt, signal, stopFor).catch((error: unknown) =>
      outcomeOf(error, signal, id),
    );
    const ms = Math.round(performance.now() - startedAt);
    if (signal.aborted) {
      log.info(
        { job: id, attempt: attempt.attempt, reason: signal.reason as Stop, ms },
        "job stopped",
      );
      return signal.reason === "drain" && (await ledger.release(attempt)) ? "handed back" : "done";
    }
    const final = await ledger.finish(attempt, result);
    const code = result.error?.code;
    log.info(
      {
        job: id,
        attempt: attempt.attempt,
        state: result.state,
        code,
        final,
        ms,
        usage: result.usage,
      },
      "job ended",
    );
    return "done";
  }

  async function generate(
    attempt: Attempt,
    signal: AbortSignal,
    stopFor: (reason: Stop) => void,
  ): Promise<Outcome> {
    const request = await requestOf(attempt);
    const writer = createPieceWriter(
      (pieces) => ledger.append(attempt, pieces),
      pieceIntervalMs,
      () => stopFor("stale"),
    );
    const said = { delta: "", reasoning: "" };
    let end: Extract<Piece, { type: "end" }> | undefined;
    try {
      for await (const piece of engine.generate(request, signal)) {
        if (piece.type === "end") end = piece;
        if (piece.type !== "delta" && piece.type !== "reasoning") continue;
        said[piece.type] += piece.text;
        writer.write(piece);
      }
    } finally {
      await writer.close();
    }
    if (end === undefined) throw new Error("The engine ended without an end.");
    const { promptTokens, imageTokens, completionTokens } = end.usage;
    return {
      state: "succeeded",
      output: {
        text: said.delta,
        reasoning: said.reasoning || null,
        finish_reason: end.finishReason,
      },
      usage: {
        prompt_tokens: promptTokens,
        image_tokens: imageTokens,
        completion_tokens: completionTokens,
      },
    };
  }

  /** The job's fault or the engine's ends the job; Redis's fault does not, since the job can be tried again. */
  function outcomeOf(error: unknown, signal: AbortSignal, id: string): Outcome {
    if (isRedisUnavailable(error)) throw error;
    if (error instanceof EngineError && error.code !== "engine_failure") {
      return { state: "failed", error: jobErrorOf(error.code, error.message) };
    }
    if (!signal.aborted) log.error({ error, job: id }, "the engine failed");
    return {
      state: "failed",
      error: jobErrorOf("engine_failure", "The engine failed on this job."),
    };
  }

  async function requestOf({ input }: Attempt): Promise<GenerateRequest> {
    const messages: Message[] = await Promise.all(
      input.messages.map(async ({ role, content }) => {
        if (typeof content === "string") return { role, content };
        return { role, content: await Promise.all(content.map(loadPart)) };
      }),
    );
    return { messages, ...settingsOf(input.options) };
  }

  async function loadPart(
    part: { type: "text"; text: string } | { type: "image"; digest: string },
  ) {
    if (part.type === "text") return part;
    const image = await blobs.get(part.digest);
    if (image === null) throw new EngineError("invalid_image", "The picture is no longer kept.");
    return { type: "image" as const, image };
  }
}

/** Contract names to engine names; what is missing stays missing, for the checkpoint's own defaults. */
function settingsOf(options: Options): Omit<GenerateRequest, "messages"> {
  const { max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop, thinking } =
    options;
  const sampling = {
    temperature,
    topP: top_p,
    topK: top_k,
    repetitionPenalty: repetition_penalty,
    seed,
  };
  return {
    sampling: present(sampling),
    ...present({ maxTokens: max_tokens, stop: typeof stop === "string" ? [stop] : stop, thinking }),
  };
}

/** Without the members that are undefined. */
function present<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined),
  ) as never;
}
