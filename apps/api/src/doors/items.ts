/** An answer in pieces as a list of items, each told by events: thoughts are one, and what is said aloud is another. */

export type Kind = "output" | "reasoning";

/** What is said of the item at `index`. */
export type ItemForm = {
  opened(kind: Kind, index: number): string;
  piece(kind: Kind, index: number, text: string): string;
  closed(kind: Kind, index: number, text: string): string;
};

export function createItems(form: ItemForm) {
  let open: { kind: Kind; text: string } | null = null;
  let index = 0;

  function close(): string {
    if (open === null) return "";
    const { kind, text } = open;
    open = null;
    return form.closed(kind, index++, text);
  }

  function add(kind: Kind, text: string): string {
    const began = enter(kind);
    if (open !== null) open.text += text;
    return began + form.piece(kind, index, text);
  }

  function enter(kind: Kind): string {
    if (open?.kind === kind) return "";
    const ended = close();
    open = { kind, text: "" };
    return ended + form.opened(kind, index);
  }

  return {
    add,
    /** Ends the last one. An answer without a word is an empty item. */
    finish: (): string => (index === 0 && open?.kind !== "output" ? enter("output") : "") + close(),
  };
}

/** Events by name, numbered from 0: those up to number `after` are counted, and not said. */
export function createSay(after: number) {
  let number = 0;
  return function say(type: string, members: object): string {
    const sequence_number = number++;
    if (sequence_number <= after) return "";
    return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number, ...members })}\n\n`;
  };
}
