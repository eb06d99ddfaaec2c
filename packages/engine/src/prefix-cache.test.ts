import { expect, test } from "vitest";
import { createPrefixCache, type Prompt } from "./prefix-cache.ts";
import type { Snapshot } from "./runner.ts";

const released: string[] = [];
const snapshot = (name: string, length: number): Snapshot => ({
  length,
  bytes: length,
  release: () => void released.push(name),
});

/** `text` tokens, then pictures of 20 tokens each with these keys, then a question. */
function prompt(text: number, keys: string[], question = "abcdefgh"): Prompt {
  const ids = Array.from({ length: text }, (_, i) => i);
  const pictures = keys.map((key) => {
    const at = ids.length;
    ids.push(...Array<number>(20).fill(-1));
    return { at, key };
  });
  for (const char of question) ids.push(1000 + char.codePointAt(0)!);
  return { ids: Int32Array.from(ids), pictures };
}

test("what two prompts share ends at the first token or picture that differs", () => {
  const cache = createPrefixCache(1e6);
  cache.add(prompt(40, ["cat", "dog"]), snapshot("a", 88));
  const shared = (other: Prompt): number => cache.find(other)?.length ?? 0;
  expect(shared(prompt(40, ["cat", "dog"], "abcxyz"))).toBe(83);
  expect(shared(prompt(40, ["cat", "cow"]))).toBe(60);
  expect(shared(prompt(40, ["cow", "dog"]))).toBe(40);
  expect(shared(prompt(40, ["cat", "dog"]))).toBe(86); // two are left to read
  expect(shared(prompt(40, ["cat"], "abcxyz"))).toBe(60);
  expect(shared(prompt(31, ["cat", "dog"]))).toBe(0); // too short to be worth it
  expect(cache.stats).toMatchObject({ hits: 5, misses: 1, tokens: 83 + 60 + 40 + 86 + 60 });
});

test("of several the longest is taken; the one unused longest goes first", () => {
  const cache = createPrefixCache(250);
  released.length = 0;
  cache.add(prompt(50, [], "aaaa"), snapshot("a", 54));
  cache.add(prompt(80, [], "bbbb"), snapshot("b", 84));
  expect(cache.find(prompt(80, [], "bbxxxx"))).toMatchObject({ length: 82 });
  expect(cache.find(prompt(50, [], "aaxxxx"))).toMatchObject({ length: 52 });
  cache.add(prompt(100, [], "cccc"), snapshot("c", 104));
  expect(released).toEqual([]);
  cache.add(prompt(40, [], "dddd"), snapshot("d", 44));
  expect(released).toEqual(["b"]);
  cache.add(prompt(400, []), snapshot("too large", 408));
  expect(released).toEqual(["b", "too large"]);
  expect(cache.stats.bytes).toBe(54 + 104 + 44);
  cache.clear();
  expect(released.toSorted()).toEqual(["a", "b", "c", "d", "too large"]);
});

test("a longer prompt takes the place of what it begins with", () => {
  const cache = createPrefixCache(1000);
  released.length = 0;
  cache.add(prompt(50, [], ""), snapshot("short", 50));
  cache.add(prompt(50, [], "and more"), snapshot("long", 58));
  expect(released).toEqual(["short"]);
  expect(cache.find(prompt(50, [], "xyz"))).toMatchObject({ length: 50 });
});

test("without room nothing is wanted", () => {
  const cache = createPrefixCache(0);
  expect(cache.wants(prompt(50, []), 0)).toBe(false);
  expect(createPrefixCache(1).wants(prompt(50, []), 0)).toBe(true);
  expect(createPrefixCache(1).wants(prompt(50, []), 40)).toBe(false);
});
