/**
 * Generated ids to pieces of text: exact UTF-8, thinking apart from the answer, control tokens hidden, stop strings
 * cut off. Knows tokens and text; knows nothing of where ids come from.
 */
import type { Vocabulary } from "./tokenizer.ts";

export type TextPiece = { type: "reasoning" | "delta"; text: string };

/** How a vocabulary's ids become text; made once a checkpoint. */
export type TokenTable = {
  bytes(id: number): Uint8Array;
  hidden: ReadonlySet<number>;
  openThink: number | undefined;
  closeThink: number | undefined;
};

const BOX_TOKENS = ["<|begin_of_box|>", "<|end_of_box|>"];

export function createTokenTable({ bytes, offsets, special, added }: Vocabulary): TokenTable {
  const boxes = BOX_TOKENS.map((text) => added.get(text)).filter((id) => id !== undefined);
  return {
    // An id past the vocabulary (models pad theirs) has no bytes.
    bytes: (id) => bytes.subarray(offsets[id] ?? bytes.length, offsets[id + 1] ?? bytes.length),
    hidden: new Set([...special, ...boxes]),
    openThink: added.get("<think>"),
    closeThink: added.get("</think>"),
  };
}

export type OutputText = {
  /**
   * The pieces that these tokens make certain: one for each stretch of thinking or answer. Tokens behind the one that
   * completes a stop string are not taken.
   */
  push(ids: readonly number[]): TextPiece[];
  /** Tokens taken so far. */
  readonly taken: number;
  /** Those of them that the answer consists of, as their places among all taken, and how many bytes each has. */
  readonly answer: readonly { at: number; size: number }[];
  /** What was held back; call once, after the last token. An unfinished character becomes U+FFFD. */
  finish(): TextPiece[];
  /** True once a stop string has come: nothing more will be emitted. */
  readonly stopped: boolean;
};

/**
 * @param promptIds a prompt may have opened or closed thinking itself; the last such token decides where output begins
 * @param stop strings that end the answer (not the thinking); a tail that may begin one is held back
 */
export function createOutputText(
  table: TokenTable,
  promptIds: ArrayLike<number>,
  stop: string[],
): OutputText {
  const stops = stop.map((text) => text.toWellFormed());
  let channel: TextPiece["type"] = "delta";
  for (let i = promptIds.length - 1; i >= 0; i--) {
    if (promptIds[i] === table.closeThink) break;
    if (promptIds[i] === table.openThink) {
      channel = "reasoning";
      break;
    }
  }
  let decoder = utf8();
  let held = "";
  let atLineStart = false; // right after <think> or </think>: newlines there are layout, not text
  let onlyLayout = false; // the same, but of the tokens taken, not of the text that has come of them
  let stopped = false;
  let taken = 0;
  const answer: { at: number; size: number }[] = [];

  function emit(text: string): TextPiece[] {
    if (stopped) return [];
    let fresh = text;
    if (atLineStart) {
      fresh = fresh.replace(/^\n+/, "");
      if (fresh !== "") atLineStart = false;
    }
    if (channel === "reasoning") return piece(fresh);
    held += fresh;
    const found = firstStop(held, stops);
    stopped = found >= 0;
    if (stopped) forget(Buffer.byteLength(held) - Buffer.byteLength(held.slice(0, found)));
    const ready = stopped ? found : held.length - openTail(held, stops);
    const out = piece(held.slice(0, ready));
    held = held.slice(ready);
    return out;
  }

  function finish(): TextPiece[] {
    const out = emit(decoder.decode());
    if (!stopped) out.push(...piece(held));
    held = "";
    return out;
  }

  const piece = (text: string): TextPiece[] => (text === "" ? [] : [{ type: channel, text }]);

  /** Tokens that the answer's last `size` bytes cover whole are none of its own. */
  function forget(size: number): void {
    for (let last; (last = answer.at(-1)) && last.size <= size; answer.pop()) size -= last.size;
  }

  /** Newlines right after a thinking token are not text, so that a token of nothing else is none of the answer's. */
  function note(bytes: Uint8Array, isFirst: boolean): boolean {
    const isLayout = isFirst && bytes.every((byte) => byte === 0x0a);
    if (channel === "delta" && bytes.length > 0 && !isLayout)
      answer.push({ at: taken - 1, size: bytes.length });
    return isLayout;
  }

  /** Tokens whose text is decoded at once, since nothing happens between them. */
  function decode(tokens: Uint8Array[]): TextPiece[] {
    if (tokens.length === 0) return [];
    return emit(decoder.decode(joined(tokens.splice(0)), { stream: true }));
  }

  return {
    push(ids) {
      const out: TextPiece[] = [];
      const tokens: Uint8Array[] = [];
      for (const id of ids) {
        taken++;
        if (id === table.openThink || id === table.closeThink) {
          out.push(...decode(tokens), ...finish());
          channel = id === table.openThink ? "reasoning" : "delta";
          decoder = utf8();
          atLineStart = onlyLayout = true;
        } else if (!table.hidden.has(id)) {
          const bytes = table.bytes(id);
          tokens.push(bytes);
          onlyLayout = note(bytes, onlyLayout);
          if (stops.length > 0) out.push(...decode(tokens)); // which of them stops has to be known
        }
        if (stopped) break;
      }
      return [...out, ...decode(tokens)];
    },
    answer,
    get taken() {
      return taken;
    },
    finish,
    get stopped() {
      return stopped;
    },
  };
}

function joined(parts: Uint8Array[]): Uint8Array {
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

const utf8 = () => new TextDecoder("utf-8", { ignoreBOM: true });

function firstStop(text: string, stops: string[]): number {
  const found = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return found.length === 0 ? -1 : Math.min(...found);
}

/** Length of the longest end of `text` that begins a stop string. */
function openTail(text: string, stops: string[]): number {
  const longest = Math.max(0, ...stops.map((stop) => stop.length - 1));
  for (let n = Math.min(longest, text.length); n > 0; n--) {
    const tail = text.slice(text.length - n);
    if (stops.some((stop) => stop.startsWith(tail))) return n;
  }
  return 0;
}
