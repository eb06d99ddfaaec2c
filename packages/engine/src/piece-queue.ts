/** Pieces between the engine, which never waits, and one reader, who may be slow or gone. */
import type { Piece } from "./types.ts";

/**
 * What is not yet read is kept: neighbouring texts of one kind as one piece, so that an unread queue is no longer than
 * the answer.
 */
export class PieceQueue {
  readonly #unread: Piece[] = [];
  #ended = false;
  #error: { reason: unknown } | undefined;
  #wake: (() => void) | undefined;

  push(piece: Piece): void {
    const last = this.#unread.at(-1);
    if (last && "text" in last && "text" in piece && last.type === piece.type)
      this.#unread[this.#unread.length - 1] = { ...last, text: last.text + piece.text };
    else this.#unread.push(piece);
    this.#wake?.();
  }

  /** No more pieces. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** The reader gets `reason` instead of what is unread. */
  fail(reason: unknown): void {
    this.#error ??= { reason };
    this.#wake?.();
  }

  /** The next piece, undefined after the last. One reader at a time. */
  async take(): Promise<Piece | undefined> {
    while (this.#unread.length === 0 && !this.#ended && !this.#error) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = undefined;
    }
    if (this.#error) throw this.#error.reason;
    return this.#unread.shift();
  }
}
