/** One at a time, first come first served. */

export type Turns = {
  /** Resolves when it is one's turn, to the function that ends it. An abort while waiting throws the signal's reason. */
  take(signal?: AbortSignal): Promise<() => void>;
};

export function createTurns(): Turns {
  let last: Promise<void> = Promise.resolve();
  return {
    async take(signal) {
      const mine = Promise.withResolvers<void>();
      const before = last;
      last = mine.promise;
      const aborted = Promise.withResolvers<never>();
      const abort = (): void => aborted.reject(signal?.reason);
      signal?.addEventListener("abort", abort);
      try {
        signal?.throwIfAborted();
        await Promise.race([before, aborted.promise]);
        return mine.resolve;
      } catch (reason) {
        // Who gives up keeps the place in line for those behind: their turn comes when this one's would have.
        void before.then(mine.resolve);
        throw reason;
      } finally {
        signal?.removeEventListener("abort", abort);
      }
    },
  };
}
