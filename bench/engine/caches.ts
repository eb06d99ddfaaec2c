/**
 * What is remembered from one request to the next: features of a picture seen before, with the cache off and on, and a
 * prompt's beginning, cold and warm. Milliseconds to the first token, one request at a time: nothing else is shared.
 */
import { readFile } from "node:fs/promises";
import { Engine, type Message } from "@glimpse/engine";
import { interleave, median, round, type Settings } from "./measure.ts";

const PICTURE = new URL("../../models/nano/reference/gradient-640x480.png", import.meta.url);
/** About 1,000 tokens. */
const INSTRUCTIONS = "Say what is in the picture, and where, as short as you can. ".repeat(45);
const REQUESTS = 8;

export async function measureCaches({ dir, runs }: Settings) {
  const image = await readFile(PICTURE);
  const options = { slots: 1, capacity: 2_048 };
  const without = await Engine.load(dir, {
    ...options,
    featureCacheBytes: 0,
    prefixCacheBytes: 0,
  });
  const featuresOnly = await Engine.load(dir, { ...options, prefixCacheBytes: 0 });
  const both = await Engine.load(dir, options);
  let number = 0;
  /** The same picture, another question each time. */
  const ask = (): Message[] => {
    const question = { type: "text" as const, text: `Question ${number++}: what is shown?` };
    return [{ role: "user", content: [{ type: "image", image }, question] }];
  };
  /** The same question, a number before or behind the long text, so that its beginning is new or known. */
  const instruct = (isKnown: boolean): Message[] => {
    const text = isKnown ? `${INSTRUCTIONS} ${number++}` : `${number++} ${INSTRUCTIONS}`;
    return [
      { role: "system", content: text },
      { role: "user", content: "What is shown?" },
    ];
  };
  try {
    const first = await interleave(
      {
        "picture, no cache": () => firstTokenMs(without, ask),
        "picture, features cached": () => firstTokenMs(featuresOnly, ask),
        "picture, prefix cached": () => firstTokenMs(both, ask),
        "long text, cold": () => firstTokenMs(both, () => instruct(false)),
        "long text, warm": () => firstTokenMs(both, () => instruct(true)),
      },
      runs,
    );
    console.log("\nMilliseconds to the first token, one request at a time");
    const row = ([what, ms]: [string, number]) => ({ what, ms: round(ms, 1) });
    console.table(Object.entries(first).map(row));
    return {
      feature_cache_gain: round(first["picture, no cache"] / first["picture, features cached"]),
      prefix_cache_gain: round(first["long text, cold"] / first["long text, warm"]),
    };
  } finally {
    for (const engine of [without, featuresOnly, both]) await engine.close();
  }
}

/** Of some requests, the median. */
async function firstTokenMs(engine: Engine, ask: () => Message[]): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < REQUESTS; i++) {
    for await (const piece of engine.generate({ messages: ask(), maxTokens: 1 }))
      if (piece.type === "end") times.push(piece.timings.firstTokenMs);
  }
  return median(times);
}
