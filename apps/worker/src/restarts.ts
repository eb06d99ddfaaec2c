/** When to start again what has died: soon the first time, ever later while it gets nothing done. Knows no processes. */

const firstMs = 100;
const longestMs = 30_000;
/** Deaths in a row, without a job done in between, after which the child is called broken. */
const brokenAfter = 6;

/** The back-off of one child. `random` gives numbers from 0 to 1. */
export function createRestarts(random: () => number = Math.random) {
  let deaths = 0;
  return {
    /** It has got something done: the next death is the first again. */
    worked(): void {
      deaths = 0;
    },
    /** It has died: how many milliseconds to wait. Half of it is chance, so that those who die together do not return together. */
    died(): number {
      deaths++;
      const longest = Math.min(longestMs, firstMs * 2 ** (deaths - 1));
      return longest * (0.5 + random() / 2);
    },
    /** The circuit is open: it is tried only now and then, and somebody should look. */
    get isBroken(): boolean {
      return deaths >= brokenAfter;
    },
  };
}
