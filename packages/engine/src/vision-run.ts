/** What the vision graph is given: pictures of one grid share a call. Knows its tensors; no picture formats, no caches. */
import { bicubicMatrix } from "./bicubic.ts";
import { type Manifest, VISION_IO as IO } from "./manifest.ts";
import type { Runtime } from "./ort.ts";
import { visionRotation } from "./rotary.ts";
import type { Picture } from "./runner.ts";
import type { Session } from "./session.ts";

/** Patches of one call at most, unless one picture has more: what bounds its memory. */
const MAX_PATCHES = 16_384;

export class VisionRun {
  readonly #runtime: Runtime;
  readonly #session: Session;
  readonly #vision: Manifest["vision"];
  readonly #hidden: number;

  constructor(runtime: Runtime, session: Session, { vision, text }: Manifest) {
    this.#runtime = runtime;
    this.#session = session;
    this.#vision = vision;
    this.#hidden = text.hidden;
  }

  /** Features [tokens, hidden] of each picture. */
  async encode(pictures: readonly Picture[]): Promise<Float32Array[]> {
    const features: Float32Array[] = [];
    const byGrid = Map.groupBy(pictures.keys(), (index) => pictures[index]!.grid.join());
    for (const indexes of byGrid.values()) {
      const size = Math.max(1, Math.floor(MAX_PATCHES / patches(pictures[indexes[0]!]!)));
      for (let from = 0; from < indexes.length; from += size) {
        const batch = indexes.slice(from, from + size);
        const found = await this.#encodeEqual(batch.map((index) => pictures[index]!));
        for (const [i, index] of batch.entries()) features[index] = found[i]!;
      }
    }
    return features;
  }

  async #encodeEqual(pictures: readonly Picture[]): Promise<Float32Array[]> {
    const { merge, patchDim, tableSide, headDim } = this.#vision;
    const [t, h, w] = pictures[0]!.grid;
    const tokens = patches(pictures[0]!) / merge ** 2;
    const count = pictures.length;
    const pixels = joined(pictures);
    const size = tokens * this.#hidden;
    const features = new Float32Array(count * size);
    const { cos, sin } = visionRotation(h, w, this.#vision);
    using scope = new DisposableStack();
    const tensor = (data: Float32Array, ...dims: number[]) =>
      scope.use(this.#runtime.tensor(data, dims));
    const binding = this.#session.bind(
      {
        [IO.pixels]: tensor(pixels, count * t, h * w, patchDim),
        [IO.rowWeights]: tensor(bicubicMatrix(h, tableSide), h, tableSide),
        [IO.columnWeights]: tensor(bicubicMatrix(w, tableSide), w, tableSide),
        [IO.cos]: tensor(cos, h * w, headDim / 2),
        [IO.sin]: tensor(sin, h * w, headDim / 2),
      },
      { [IO.features]: tensor(features, count * tokens, this.#hidden) },
    );
    await binding.run();
    if (count === 1) return [features];
    // Copies: a cached picture would keep its whole call's features alive.
    return pictures.map((_, i) => features.slice(i * size, (i + 1) * size));
  }
}

/** The pixels of pictures of one size, one after the other; a single one's are not copied: they can be 50 MB. */
function joined(pictures: readonly Picture[]): Float32Array {
  const [first] = pictures;
  if (pictures.length === 1) return first!.pixels;
  const size = first!.pixels.length;
  const pixels = new Float32Array(pictures.length * size);
  for (const [i, { pixels: own }] of pictures.entries()) pixels.set(own, i * size);
  return pixels;
}

export function patches({ grid: [t, h, w] }: Pick<Picture, "grid">): number {
  return t * h * w;
}
