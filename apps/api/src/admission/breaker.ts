/**
 * A circuit breaker for one version: open while its jobs break the engine or while nobody serves it. It learns from the ledger's
 * counts of how jobs ended, which are every process's, so that no request has to wait for its job to be counted.
 */
import { CircuitState, circuitBreaker, CountBreaker, handleAll } from "cockatiel";
import type { BreakerState } from "@glimpse/contracts";
import type { Pulse } from "./pulse.ts";

export type BreakerSettings = {
  /** It opens when more than this share of the last `sample` runs broke. */
  brokenShare: number;
  sample: number;
  /** How long it stays open before jobs are tried again. */
  openMs: number;
  /** How long nobody may serve the version before that is an outage, not a restart. */
  unservedGraceMs: number;
};

export type BreakerRefusal = { reason: "broken" | "unserved"; retryAfterMs: number };

export type Breaker = ReturnType<typeof createBreaker>;

/** One job in this time is tried while it is half open. */
const probeEveryMs = 1_000;

export function createBreaker(settings: BreakerSettings) {
  const { brokenShare, sample, openMs, unservedGraceMs } = settings;
  const circuit = circuitBreaker(handleAll, {
    halfOpenAfter: openMs,
    breaker: new CountBreaker({
      threshold: brokenShare,
      size: sample,
      minimumNumberOfCalls: Math.ceil(sample / 2),
    }),
  });
  let openUntil = 0;
  circuit.onBreak(() => (openUntil = Date.now() + openMs));
  let probeFrom = 0;
  let seen: Pulse | undefined;
  let unservedSince: number | null = null;

  const isUnserved = () => unservedSince !== null && Date.now() - unservedSince >= unservedGraceMs;

  function state(): BreakerState {
    if (isUnserved()) return "open";
    if (circuit.state === CircuitState.Closed) return "closed";
    return Date.now() < openUntil ? "open" : "half_open";
  }

  return {
    state,

    /** Takes in how the version is doing. What ended before the first time is history. */
    async observe(pulse: Pulse): Promise<void> {
      unservedSince = pulse.workers > 0 ? null : (unservedSince ?? Date.now());
      const before = seen ?? pulse;
      seen = pulse;
      const broken = Math.max(0, pulse.broken - before.broken);
      const succeeded = Math.max(0, pulse.succeeded - before.succeeded);
      const share = Math.min(1, sample / (broken + succeeded));
      // Those that succeeded first: the share is judged at each that broke, and should be that of all.
      for (let i = 0; i < Math.round(succeeded * share); i++) await tell(true);
      for (let i = 0; i < Math.round(broken * share); i++) await tell(false);
    },

    /** Why no job can be accepted at all, or null. */
    refusal,

    /** The same for one job that is ready to be queued: while it is half open, one now and then is let in, to be tried. */
    enter(): BreakerRefusal | null {
      if (state() !== "half_open") return refusal();
      if (Date.now() < probeFrom) return { reason: "broken", retryAfterMs: probeFrom - Date.now() };
      probeFrom = Date.now() + probeEveryMs;
      return null;
    },
  };

  function refusal(): BreakerRefusal | null {
    if (isUnserved()) return { reason: "unserved", retryAfterMs: openMs };
    if (state() !== "open") return null;
    return { reason: "broken", retryAfterMs: openUntil - Date.now() };
  }

  /** Of runs that ended while it was open, the circuit takes no note; the first one after that decides. */
  async function tell(hasSucceeded: boolean): Promise<void> {
    const run = () => {
      if (!hasSucceeded) throw new Error("a run broke");
    };
    await circuit.execute(run).catch(() => {});
  }
}
