/** Who holds how much of what there is in this process: bytes, open streams. */

/** What somebody holds; `release` gives it all back, once. */
export type Hold = { add(amount: number): Outcome; release(): void };

/** `all`: there is no more for anybody; `own`: this one has its share. */
export type Outcome = "held" | "all" | "own";

/** `most` for all together, `mostEach` for each of them. */
export function createTally({ most, mostEach }: { most: number; mostEach: number }) {
  const shares = new Map<string, number>();
  let total = 0;

  /** Whether that much more could be held, now. */
  function fits(who: string, amount: number): Outcome {
    if ((shares.get(who) ?? 0) + amount > mostEach) return "own";
    return total + amount > most ? "all" : "held";
  }

  return {
    fits,
    total: () => total,
    hold(who: string): Hold {
      let held = 0;
      const change = (amount: number) => {
        total += amount;
        held += amount;
        const share = (shares.get(who) ?? 0) + amount;
        if (share === 0) shares.delete(who);
        else shares.set(who, share);
      };
      return {
        add(amount) {
          const outcome = fits(who, amount);
          if (outcome === "held") change(amount);
          return outcome;
        },
        release: () => change(-held),
      };
    },
  };
}
