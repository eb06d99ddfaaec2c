/**
 * What answers prepared requests: sequences over one runner. Joins intake (requests to sequences) and the stepper
 * (sequences to tokens); knows no messages, no threads and no readers.
 */
import type { GenerationSettings } from "./checkpoint.ts";
import type { EngineError } from "./errors.ts";
import { type Clock, createSequence } from "./intake.ts";
import { createTokenTable } from "./output-text.ts";
import type { PieceSink } from "./piece-queue.ts";
import type { ModelInput } from "./processor.ts";
import type { Runner } from "./runner.ts";
import { Stepper, type StepperHooks, type StepperLimits } from "./stepper.ts";
import type { Vocabulary } from "./tokenizer.ts";
import type { GenerateRequest } from "./types.ts";

/** A prepared request: all but its messages. */
export type Work = {
  input: ModelInput;
  request: Omit<GenerateRequest, "messages">;
  clock: Clock;
};

export type CoreStats = Stepper["stats"];

export type Core = {
  /** Resolves when the runtime has broken: all work has failed, and only a new process helps. */
  readonly failed: Promise<EngineError>;
  /** Counts since the start, and what is going on now. */
  readonly stats: CoreStats;
  /**
   * Takes up work; its pieces go to `sink`, which never holds it up. The returned function ends it with a reason, wherever
   * it is: its slot is free at the next step.
   * @throws EngineError `context_too_long`, or `engine_failure` once the core has broken; or they go to the sink
   */
  begin(work: Work, sink: PieceSink): (reason: unknown) => void;
  /** Ends all work and frees the runner. */
  close(): Promise<void>;
};

export type CoreParts = {
  runner: Runner;
  settings: GenerationSettings;
  vocabulary: Vocabulary;
  limits: StepperLimits;
  hooks?: StepperHooks;
};

export function createCore({ runner, settings, vocabulary, limits, hooks }: CoreParts): Core {
  const stepper = new Stepper(runner, limits, hooks);
  const model = { shape: runner.shape, settings, tokens: createTokenTable(vocabulary) };
  return {
    failed: stepper.failed,
    get stats() {
      return stepper.stats;
    },
    begin({ input, request, clock }, sink) {
      const sequence = createSequence(input, request, model, clock, sink);
      stepper.add(sequence);
      return (reason) => stepper.drop(sequence, reason);
    },
    async close() {
      await stepper.close();
      await runner.close();
    },
  };
}
