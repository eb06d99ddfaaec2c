/** A job that is started anew says everything again; a stream has no way to take back what it has said. */

type Kind = "reasoning" | "delta";

/** Passes on what goes beyond what has been said already, attempt by attempt. */
export function createRetelling() {
  const said = { reasoning: "", delta: "" };
  let repeated = { reasoning: 0, delta: 0 };
  return {
    /** A new attempt begins. */
    restart(): void {
      repeated = { reasoning: 0, delta: 0 };
    },
    /** The part of the piece that is new, which may be empty; null when it says something else than before. */
    tell(kind: Kind, text: string): string | null {
      const from = repeated[kind];
      const known = said[kind].slice(from, from + text.length);
      if (!text.startsWith(known)) return null;
      const fresh = text.slice(known.length);
      said[kind] += fresh;
      repeated[kind] = from + text.length;
      return fresh;
    },
    /** Whether this attempt has said all that an earlier one has. */
    isWhole: (): boolean =>
      repeated.reasoning === said.reasoning.length && repeated.delta === said.delta.length,
  };
}
