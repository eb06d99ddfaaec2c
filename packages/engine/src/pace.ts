/**
 * How much of a prompt to read between two decode steps, by how long both have taken lately. Smaller chunks keep the
 * running sequences' tokens coming evenly; larger ones bring new sequences in sooner. What is computed is the same.
 */

export type Pace = {
  /** Prompt tokens for the next step. */
  tokens(isSomebodyRunning: boolean): number;
  tookPrefill(tokens: number, ms: number): void;
  tookDecode(ms: number): void;
};

/** Shorter chunks are mostly the price of a call: they are neither made on purpose nor measured. */
const LEAST_TOKENS = 16;
/** Before anything is measured, while somebody runs. */
const FIRST_TOKENS = 64;
/** Weight of the latest measurement: a prompt's tokens take longer the more of it has been read. */
const WEIGHT = 1 / 4;

/**
 * @param most tokens at any time, and all of them while nobody runs
 * @param steps decode steps that a chunk may last
 */
export function createPace(most: number, steps: number): Pace {
  let tokenMs: number | undefined;
  let decodeMs: number | undefined;
  const blend = (old: number | undefined, latest: number): number =>
    old === undefined ? latest : old + WEIGHT * (latest - old);
  return {
    tokens(isSomebodyRunning) {
      if (!isSomebodyRunning || steps === Infinity) return most;
      if (tokenMs === undefined || decodeMs === undefined) return Math.min(most, FIRST_TOKENS);
      return Math.min(most, Math.max(LEAST_TOKENS, Math.floor((steps * decodeMs) / tokenMs)));
    },
    tookPrefill(tokens, ms) {
      if (tokens >= LEAST_TOKENS) tokenMs = blend(tokenMs, ms / tokens);
    },
    tookDecode(ms) {
      decodeMs = blend(decodeMs, ms);
    },
  };
}
