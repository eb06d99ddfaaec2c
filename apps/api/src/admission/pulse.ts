/** How a version is doing just now: who serves it, and how its jobs ran. Read for all who ask, at most once a second. */
import type { Ledger, Pace } from "@glimpse/ledger";

export type Pulse = Pace & { workers: number; slots: number };

const everyMs = 1_000;

export type ReadPulse = (version: string) => Promise<Pulse>;

/** `onBeat` is told of each reading before those who asked for it get it. */
export function createReadPulse(
  ledger: Pick<Ledger, "workers" | "pace">,
  onBeat: (version: string, pulse: Pulse) => Promise<void>,
): ReadPulse {
  const known = new Map<string, { pulse: Promise<Pulse>; until: number }>();

  return function readPulse(version) {
    const last = known.get(version);
    if (last !== undefined && performance.now() < last.until) return last.pulse;
    const pulse = read(version);
    known.set(version, { pulse, until: performance.now() + everyMs });
    pulse.catch(() => known.delete(version));
    return pulse;
  };

  async function read(version: string): Promise<Pulse> {
    const [all, pace] = await Promise.all([ledger.workers(), ledger.pace(version)]);
    const serving = all.filter((worker) => worker.version === version);
    const slots = serving.reduce((sum, worker) => sum + worker.slots, 0);
    const pulse = { ...pace, workers: serving.length, slots };
    await onBeat(version, pulse);
    return pulse;
  }
}
