/** Pieces between the engine, which never waits, and one reader, who may be slow or gone. */
import type { Piece } from "./types.ts";

/** Where a sequence's pieces go. Never waits. */
export type PieceSink = {
  push(piece: Piece): void;
  /** No more pieces. */
  end(): void;
  /** Instead of what is to come. */
  fail(reason: unknown): void;
};

/** Adds a piece to a list: to the last one if both are text of one kind. */
export function joinPiece(pieces: Piece[], piece: Piece): void {
  const last = pieces.at(-1);
  if (last && "text" in last && "text" in piece && last.type === piece.type)
    pieces[pieces.length - 1] = { ...last, text: last.text + piece.text };
  else pieces.push(piece);
}

/**
 * What is not yet read is kept: neighbouring texts of one kind as one piece, so that an unread queue is no longer than
 * the answer.
 */
export class PieceQueue implements PieceSink {
  readonly #unread: Piece[] = [];
  #ended = false;
  #error: { reason: unknown } | undefined;
  #wake: (() => void) | undefined;

  push(piece: Piece): void {
    joinPiece(this.#unread, piece);
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
