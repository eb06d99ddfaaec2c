/**
 * Keys and values of prompts seen lately, so that a prompt which begins like one of them reads only the rest. Knows
 * token ids and picture keys; what a snapshot holds is the runner's.
 */
import { createLru } from "./lru.ts";
import type { Snapshot } from "./runner.ts";

/** What decides a prompt's cache, position by position. */
export type Prompt = {
  ids: Int32Array;
  /** In order: where in `ids` each picture's tokens begin, and the key of its pixel values and grid. */
  pictures: readonly { at: number; key: string }[];
};

export type PrefixCache = {
  /** The snapshot that begins most like the prompt and the number of positions they share, if that is worth copying. */
  find(prompt: Prompt): { snapshot: Snapshot; length: number } | undefined;
  /** True if the prompt has at least this many positions that `find` did not give. */
  wants(prompt: Prompt, found: number): boolean;
  /** Keeps the snapshot of a whole prompt, and releases it when others need the room. */
  add(prompt: Prompt, snapshot: Snapshot): void;
  clear(): void;
  readonly stats: { hits: number; misses: number; tokens: number; bytes: number };
};

/** Shorter beginnings cost less to read than to look after. */
const WORTH_TOKENS = 32;

/** At least so many tokens of a prompt are read, since the first answer token comes of them, and one row alone takes another kernel. */
const LEAST_READ = 2;

export function createPrefixCache(capacityBytes: number): PrefixCache {
  const snapshots = createLru<Prompt, Snapshot>(capacityBytes, (snapshot) => snapshot.release());
  const counts = { hits: 0, misses: 0, tokens: 0 };

  function longest(prompt: Prompt): { owner: Prompt; length: number } | undefined {
    let best: { owner: Prompt; length: number } | undefined;
    for (const [owner] of snapshots.entries()) {
      const length = Math.min(commonPrefix(owner, prompt), prompt.ids.length - LEAST_READ);
      if (length >= WORTH_TOKENS && length > (best?.length ?? 0)) best = { owner, length };
    }
    return best;
  }

  return {
    find(prompt) {
      if (capacityBytes === 0) return undefined;
      const best = longest(prompt);
      const snapshot = best && snapshots.get(best.owner);
      counts.hits += snapshot ? 1 : 0;
      counts.misses += snapshot ? 0 : 1;
      counts.tokens += best?.length ?? 0;
      return snapshot && { snapshot, length: best.length };
    },
    wants: ({ ids }, found) => capacityBytes > 0 && ids.length - found >= WORTH_TOKENS,
    add(prompt, snapshot) {
      // What the new one begins with adds nothing.
      for (const [other] of snapshots.entries())
        if (commonPrefix(other, prompt) === other.ids.length) snapshots.delete(other);
      if (!snapshots.set(prompt, snapshot, snapshot.bytes)) snapshot.release();
    },
    clear() {
      for (const [prompt] of snapshots.entries()) snapshots.delete(prompt);
    },
    get stats() {
      return { ...counts, bytes: snapshots.bytes };
    },
  };
}

/** Positions from the start on at which both prompts hold the same token, of the same picture if it is a picture's. */
function commonPrefix(a: Prompt, b: Prompt): number {
  const shorter = Math.min(a.ids.length, b.ids.length);
  let length = 0;
  while (length < shorter && a.ids[length] === b.ids[length]) length++;
  for (const [i, { at, key }] of a.pictures.entries()) {
    if (at >= length) break;
    const other = b.pictures[i];
    if (other?.at !== at || other.key !== key) return at;
  }
  return length;
}
