/**
 * Lets jobs run side by side, or one of them by itself. Who is to be alone comes first: it waits only for those that have
 * entered already. Knows neither jobs nor the queue.
 */
export type Leave = () => void;

export class Gate {
  #inside = 0;
  #isAlone = false;
  readonly #waiting = { alone: new Set<() => void>(), together: new Set<() => void>() };

  /** Whether somebody is alone or waits to be: whoever enters now would have to wait. */
  get isClosed(): boolean {
    return this.#isAlone || this.#waiting.alone.size > 0;
  }

  /** Resolves when inside, in the company of others; to null when `signal` aborts before that. */
  async enter(signal: AbortSignal): Promise<Leave | null> {
    if (!(await this.#admitted("together", signal))) return null;
    return this.#leave(() => this.#inside--);
  }

  /** Resolves when inside with nobody else; to null when `signal` aborts before that. */
  async enterAlone(signal: AbortSignal): Promise<Leave | null> {
    if (!(await this.#admitted("alone", signal))) return null;
    return this.#leave(() => (this.#isAlone = false));
  }

  async #admitted(how: "alone" | "together", signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    const waiting = this.#waiting[how];
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const admit = () => resolve(true);
    const giveUp = () => {
      if (!waiting.delete(admit)) return;
      resolve(false);
      this.#admitNext();
    };
    waiting.add(admit);
    signal.addEventListener("abort", giveUp);
    this.#admitNext();
    return promise.finally(() => signal.removeEventListener("abort", giveUp));
  }

  /** Whoever is admitted is inside at once, before its promise has resolved. */
  #admitNext(): void {
    if (this.#isAlone) return;
    const { alone, together } = this.#waiting;
    const [first] = alone;
    if (first !== undefined) {
      if (this.#inside > 0) return;
      alone.delete(first);
      this.#isAlone = true;
      return first();
    }
    for (const admit of together) {
      together.delete(admit);
      this.#inside++;
      admit();
    }
  }

  #leave(undo: () => void): Leave {
    return () => {
      undo();
      this.#admitNext();
    };
  }
}
