/**
 * Pictures to features for the sequences that wait, a call at a time. Pictures of one grid share a call; a picture seen
 * lately, or asked about by several at once, is encoded once. Knows pictures; knows nothing of tokens and slots.
 */
import { AllocationError } from "./errors.ts";
import { createLru } from "./lru.ts";
import type { Runner } from "./runner.ts";
import type { Sequence, SequencePicture } from "./sequence.ts";

export type Vision = {
  /** True when the features of all its pictures are known. */
  isReady(sequence: Sequence): boolean;
  /**
   * One call of the vision tower, for the first of `waiting`, which is not ready, and with it for pictures of the same
   * grid that others wait for. Resolves to the sequences of pictures that do not fit into memory, each alone.
   */
  encode(waiting: readonly Sequence[]): Promise<Map<Sequence, AllocationError>>;
  readonly stats: { hits: number; encoded: number; bytes: number };
};

type Found = Float32Array | AllocationError;

const NO_PIXELS = new Float32Array(0);

/**
 * @param cacheBytes features kept of pictures seen lately
 * @param callTokens what the pictures of one call come to, unless a single one is more
 */
export function createVision(
  runner: Pick<Runner, "encodeImages">,
  cacheBytes: number,
  callTokens: number,
): Vision {
  const cache = createLru<string, Float32Array>(cacheBytes);
  let hits = 0;
  let encoded = 0;

  function give(picture: SequencePicture, features: Float32Array): void {
    picture.features = features;
    picture.pixels = NO_PIXELS;
  }

  function choose(waiting: readonly Sequence[]): SequencePicture[] {
    const unknown = waiting.flatMap(({ pictures }) => pictures.filter((one) => !one.features));
    const [first] = unknown;
    const chosen = new Map<string, SequencePicture>();
    let tokens = 0;
    for (const picture of unknown) {
      if (String(picture.grid) !== String(first!.grid)) continue;
      if (chosen.has(picture.key) || cache.get(picture.key)) continue;
      tokens += picture.tokens;
      if (chosen.size > 0 && tokens > callTokens) break;
      chosen.set(picture.key, picture);
    }
    return [...chosen.values()];
  }

  async function run(pictures: SequencePicture[]): Promise<Found[]> {
    try {
      const features = await runner.encodeImages(pictures);
      return features.map((rows) => rows.slice()); // the runner's own are void at its next call
    } catch (error) {
      if (!(error instanceof AllocationError)) throw error;
      if (pictures.length === 1) return [error];
      const alone: Found[] = [];
      for (const picture of pictures) alone.push(...(await run([picture])));
      return alone;
    }
  }

  return {
    isReady({ pictures }) {
      for (const picture of pictures) {
        const known = picture.features ? undefined : cache.get(picture.key);
        if (!known) continue;
        hits++;
        give(picture, known);
      }
      return pictures.every(({ features }) => features);
    },
    async encode(waiting) {
      const start = performance.now();
      const pictures = choose(waiting);
      const found = new Map<string, Found>();
      for (const [i, result] of (await run(pictures)).entries()) {
        const { key } = pictures[i]!;
        found.set(key, result);
        if (result instanceof AllocationError) continue;
        cache.set(key, result, result.byteLength);
        encoded++;
      }
      const ms = performance.now() - start;
      const refused = new Map<Sequence, AllocationError>();
      // Others with these pictures may have come meanwhile.
      for (const sequence of waiting) {
        const mine = sequence.pictures.filter((one) => !one.features && found.has(one.key));
        if (mine.length > 0) sequence.visionMs += ms;
        for (const picture of mine) {
          const result = found.get(picture.key)!;
          if (result instanceof AllocationError) refused.set(sequence, result);
          else give(picture, result);
          if (!pictures.includes(picture)) hits++;
        }
      }
      return refused;
    },
    get stats() {
      return { hits, encoded, bytes: cache.bytes };
    },
  };
}
