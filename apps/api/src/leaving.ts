/** Whoever waits or reads for long is to leave when this process is about to stop. */

/** One listener on `closing` for all of them: adding one to a signal takes longer the more it has. */
export function createLeaving(closing: AbortSignal) {
  const inside = new Set<AbortController>();
  closing.addEventListener("abort", () => {
    for (const until of inside) until.abort("closing");
  });
  return {
    /** What the caller waits for, aborted by itself or by the closing. */
    enter(): AbortController {
      const until = new AbortController();
      if (closing.aborted) until.abort("closing");
      inside.add(until);
      return until;
    },
    leave: (until: AbortController) => void inside.delete(until),
  };
}
