/**
 * Whether a job is let in: not while its version's breaker is open, and not behind more jobs than can be done before its
 * deadline. The count that decides is taken in the step that records the job, so that all processes share it.
 */
import type { BreakerState } from "@glimpse/contracts";
import type { Ledger } from "@glimpse/ledger";
import { ApiError } from "../api-error.ts";
import type { Breaker, BreakerRefusal, BreakerSettings } from "./breaker.ts";
import { createBreaker } from "./breaker.ts";
import type { Pulse, ReadPulse } from "./pulse.ts";
import { createReadPulse } from "./pulse.ts";

export type AdmissionSettings = BreakerSettings & {
  /** No job is let in that would wait longer than this, whatever its deadline. */
  maxWaitMs: number;
};

export type Admission = {
  /** How a version is doing. */
  readPulse: ReadPulse;
  /** Throws an ApiError while jobs of the version are refused whatever they are: asked before a job's body is read. */
  check(version: string): Promise<void>;
  /** How many jobs may be before this one in the queue. Throws an ApiError while the version's breaker is open. */
  enter(version: string, deadlineMs: number): Promise<number>;
  /** What to tell the client whose job has been found to have `ahead` jobs before it, more than `enter` allowed. */
  refuse(version: string, deadlineMs: number, ahead: number): Promise<ApiError>;
  /** The state of each version's breaker; the one of a version that nobody has asked for is not known. */
  states(): Record<string, BreakerState>;
};

/** So long all jobs are refused after one was for the general limit, without reading what they are. */
const pauseMs = 100;

export function createAdmission(
  ledger: Pick<Ledger, "workers" | "pace">,
  { maxWaitMs, ...settings }: AdmissionSettings,
): Admission {
  const breakers = new Map<string, Breaker>();
  const pauses = new Map<string, { until: number; retryAt: number }>();
  const breakerOf = (version: string) => {
    const breaker = breakers.get(version) ?? createBreaker(settings);
    breakers.set(version, breaker);
    return breaker;
  };
  const readPulse = createReadPulse(ledger, (version, pulse) => breakerOf(version).observe(pulse));

  return {
    readPulse,

    async check(version) {
      await readPulse(version);
      throwIf(breakerOf(version).refusal());
      const pause = pauses.get(version);
      if (pause !== undefined && performance.now() < pause.until) {
        throw overloaded(pause.retryAt - performance.now());
      }
    },

    async enter(version, deadlineMs) {
      const pulse = await readPulse(version);
      throwIf(breakerOf(version).enter());
      return maxAheadOf(pulse, maxWaitMs, deadlineMs);
    },

    async refuse(version, deadlineMs, ahead) {
      const pulse = await readPulse(version);
      const waitMs = (ahead * (pulse.runMs ?? 0)) / Math.max(1, pulse.slots);
      const excess = (maxAhead: number) => ((ahead - maxAhead) / Math.max(1, ahead)) * waitMs;
      const general = maxAheadOf(pulse, maxWaitMs, Number.POSITIVE_INFINITY);
      if (ahead > general) {
        const now = performance.now();
        pauses.set(version, { until: now + pauseMs, retryAt: now + excess(general) });
      }
      return overloaded(excess(maxAheadOf(pulse, maxWaitMs, deadlineMs)));
    },

    states: () =>
      Object.fromEntries([...breakers].map(([version, breaker]) => [version, breaker.state()])),
  };
}

/** As many jobs as all slots do in time, at their latest pace; any number while the pace is not known. */
function maxAheadOf({ runMs, slots }: Pulse, maxWaitMs: number, deadlineMs: number): number {
  if (runMs === null || runMs === 0 || slots === 0) return Number.MAX_SAFE_INTEGER;
  const waitMs = Math.max(0, Math.min(maxWaitMs, deadlineMs - runMs));
  return Math.floor((waitMs * slots) / runMs);
}

const messages = {
  broken: "The model's jobs have been failing; it is tried again shortly.",
  unserved: "No worker serves the model just now.",
};

function throwIf(refusal: BreakerRefusal | null): void {
  if (refusal === null) return;
  const { reason, retryAfterMs } = refusal;
  throw new ApiError("model_unavailable", messages[reason], null, retryAfterMs);
}

function overloaded(retryAfterMs: number): ApiError {
  const message = "There is more work than can be done in time. Try again later.";
  return new ApiError("overloaded", message, null, retryAfterMs);
}
