/** Collects an answer's pieces and writes them in bundles: the first at once, the others a little apart. */
import type { LogPiece } from "@glimpse/ledger";

export type PieceWriter = {
  write(piece: LogPiece): void;
  /** Resolves, when nothing is being written any more, to the pieces that are left: they go with the job's end. */
  close(): Promise<LogPiece[]>;
};

/**
 * `append` gets pieces in order, one call at a time, at most one every `intervalMs`; neighbours of one type are joined.
 * When it resolves to false nothing more is written and `onRefused` is called. `close` rejects when `append` did.
 */
export function createPieceWriter(
  append: (pieces: LogPiece[]) => Promise<boolean>,
  intervalMs: number,
  onRefused: () => void,
): PieceWriter {
  let waiting: LogPiece[] = [];
  let timer: NodeJS.Timeout | undefined;
  let nextAt = 0;
  let refused = false;
  let writing = Promise.resolve();

  async function send(): Promise<void> {
    if (waiting.length === 0 || refused) return;
    const pieces = waiting;
    waiting = [];
    nextAt = performance.now() + intervalMs;
    if (await append(pieces)) return;
    refused = true;
    onRefused();
  }

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    writing = writing.then(send);
    writing.catch(() => {}); // close() hands it on
  }

  return {
    write(piece) {
      const last = waiting.at(-1);
      if (last?.type === piece.type) last.text += piece.text;
      else waiting.push({ ...piece });
      timer ??= setTimeout(flush, Math.max(0, nextAt - performance.now()));
    },
    async close() {
      clearTimeout(timer);
      await writing;
      return refused ? [] : waiting;
    },
  };
}
