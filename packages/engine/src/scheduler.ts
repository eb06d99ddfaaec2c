/**
 * Who runs next, and in which slot. Knows lengths and times; knows no tensors and no text, and runs nothing.
 *
 * Running sequences are in the slots 0 to n-1 without holes, so that a decode step has no empty rows. Behind them, in
 * any slot, is at most one sequence whose prompt is being read. Who leaves does so at the next `settle`, between two
 * runs, since a run under way writes the slots.
 */

/** What the scheduler knows of a sequence. */
export type Scheduled = {
  /** Lower runs first. */
  readonly priority: number;
  /** On the clock of `settle`. */
  readonly deadline: number;
  readonly promptLength: number;
  /** Positions in its slot, so far. */
  length: number;
  /** -1 while it has none. */
  slot: number;
};

/** The first `length` positions of a slot are to be copied over those of another. */
export type Move = { from: number; to: number; length: number };

export class Scheduler<S extends Scheduled> {
  readonly slots: number;
  /** By priority, then in the order of arrival. */
  readonly #waiting: S[] = [];
  /** The one whose prompt is being read. */
  #reading: S | undefined;
  /** Row i is in slot i. */
  readonly #running: S[] = [];
  readonly #leaving = new Set<S>();
  /** Nobody's deadline is before this. */
  #nextDeadline = Infinity;

  constructor(slots: number) {
    this.slots = slots;
  }

  get waiting(): readonly S[] {
    return this.#waiting;
  }

  /** The rows of the next decode step; changes in `settle` and `advance` only. */
  get running(): readonly S[] {
    return this.#running;
  }

  /** Running sequences that have not been told to leave. */
  get decoding(): number {
    return this.#running.filter((one) => !this.#leaving.has(one)).length;
  }

  /** Sequences that have not been told to leave. */
  get size(): number {
    const held = this.#running.length + (this.#reading ? 1 : 0);
    return this.#waiting.length + held - this.#leaving.size;
  }

  *[Symbol.iterator](): Generator<S, void, undefined> {
    yield* this.#running;
    if (this.#reading) yield this.#reading;
    yield* this.#waiting;
  }

  add(sequence: S): void {
    this.#nextDeadline = Math.min(this.#nextDeadline, sequence.deadline);
    const at = this.#waiting.findLastIndex((other) => other.priority <= sequence.priority);
    this.#waiting.splice(at + 1, 0, sequence);
  }

  /** Takes a sequence out wherever it is: from the queue now, from its slot at the next `settle`. Once is enough. */
  leave(sequence: S): void {
    if (sequence.slot >= 0) this.#leaving.add(sequence);
    else if (this.#waiting.includes(sequence))
      this.#waiting.splice(this.#waiting.indexOf(sequence), 1);
  }

  /**
   * Lets go of who leaves and of whose deadline has passed, and closes the holes.
   * Between runs only; the moves are to be made in their order before the next run.
   */
  settle(now: number): { expired: S[]; moves: Move[] } {
    const expired = now < this.#nextDeadline ? [] : this.#expire(now);
    const moves: Move[] = [];
    if (this.#leaving.size === 0) return { expired, moves };
    if (this.#reading && this.#leaving.has(this.#reading))
      this.#reading = this.#free(this.#reading);
    for (let slot = 0; slot < this.#running.length && this.#leaving.size > 0; slot++) {
      this.#dropTail();
      const sequence = this.#running[slot];
      if (!sequence || !this.#leaving.has(sequence)) continue;
      this.#free(sequence);
      moves.push(this.#move(this.#running.pop()!, slot));
    }
    return { expired, moves };
  }

  /** Whose prompt is next: the one being read, else the first that waits if a slot is free. */
  next(): S | undefined {
    if (this.#reading) return this.#leaving.has(this.#reading) ? undefined : this.#reading;
    return this.#running.length < this.slots ? this.#waiting[0] : undefined;
  }

  /** Gives `next()` a slot, if it has none. The slot is empty: what it holds is for the caller to say by `length`. */
  admit(): void {
    if (this.#reading || this.next() === undefined) return;
    this.#reading = this.#waiting.shift()!;
    this.#reading.slot = this.#running.length;
    this.#reading.length = 0;
  }

  /** How many tokens of its prompt a sequence reads next: about `budget`, and so that no chunk is a single token. */
  chunk({ promptLength, length }: S, budget: number): number {
    const left = promptLength - length;
    const count = Math.min(left, Math.max(budget, 2));
    if (left - count !== 1) return count;
    return count > 2 ? count - 1 : left;
  }

  /**
   * Notes `count` more positions of the prompt. At its end the sequence joins the running ones, if it has not been told
   * to leave; the move is to be made before the next run.
   */
  advance(sequence: S, count: number): Move | undefined {
    sequence.length += count;
    if (sequence.length < sequence.promptLength) return undefined;
    this.#reading = undefined;
    if (this.#leaving.has(sequence)) {
      this.#free(sequence);
      return undefined;
    }
    const { slot } = sequence;
    const move = this.#move(sequence, this.#running.length);
    return slot === move.to ? undefined : move;
  }

  /** Notes one more position of each of the first `rows` running sequences. */
  grow(rows: number): void {
    for (let row = 0; row < rows; row++) this.#running[row]!.length++;
  }

  /** Everybody, out at once. */
  clear(): void {
    for (const sequence of this) sequence.slot = -1;
    this.#waiting.length = this.#running.length = 0;
    this.#reading = undefined;
    this.#leaving.clear();
  }

  /** Lets those go whose deadline has passed, and returns them. */
  #expire(now: number): S[] {
    const there = [...this].filter((one) => !this.#leaving.has(one));
    const expired = there.filter(({ deadline }) => deadline <= now);
    for (const sequence of expired) this.leave(sequence);
    const left = there.filter(({ deadline }) => deadline > now);
    this.#nextDeadline = left.reduce((next, one) => Math.min(next, one.deadline), Infinity);
    return expired;
  }

  #dropTail(): void {
    for (let last = this.#running.at(-1); last && this.#leaving.has(last);) {
      this.#free(last);
      this.#running.pop();
      last = this.#running.at(-1);
    }
  }

  #move(sequence: S, to: number): Move {
    const move = { from: sequence.slot, to, length: sequence.length };
    this.#running[to] = sequence;
    sequence.slot = to;
    return move;
  }

  #free(sequence: S): undefined {
    this.#leaving.delete(sequence);
    sequence.slot = -1;
  }
}
