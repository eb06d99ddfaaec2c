/** Plans where every weight lies in the data file, then writes it as a stream: never more than a piece in memory. */
import { open } from "node:fs/promises";
import { WEIGHTS_FILE } from "@glimpse/engine";
import type { ExternalData } from "./onnx.ts";
import type { Checkpoint } from "./safetensors.ts";

const ALIGNMENT = 64;
const FLOAT_BYTES = 4;

export class WeightPlan {
  readonly #checkpoint: Checkpoint;
  readonly #places = new Map<string, ExternalData>();
  #end = 0;

  constructor(checkpoint: Checkpoint) {
    this.#checkpoint = checkpoint;
  }

  /** Bytes of all planned tensors. */
  get bytes(): number {
    return [...this.#places.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /** The place of a tensor, the same for everyone who asks. Throws EngineError `invalid_checkpoint` unless it is there, of this shape. */
  place = (name: string, shape: readonly number[]): ExternalData => {
    this.#checkpoint.expect(name, shape);
    let place = this.#places.get(name);
    if (!place) {
      const length = shape.reduce((count, dim) => count * dim, FLOAT_BYTES);
      place = { location: WEIGHTS_FILE, offset: this.#end, length };
      this.#places.set(name, place);
      this.#end = Math.ceil((place.offset + length) / ALIGNMENT) * ALIGNMENT;
    }
    return place;
  };

  /** Writes all planned tensors as float32; `onProgress` hears of the bytes written. */
  async write(path: string, onProgress: (bytes: number) => void): Promise<void> {
    const file = await open(path, "wx");
    let done = 0;
    try {
      for (const [name, { offset }] of this.#places) {
        let at = offset;
        for await (const piece of this.#checkpoint.read(name)) {
          const { bytesWritten } = await file.write(piece, 0, piece.byteLength, at);
          if (bytesWritten !== piece.byteLength) throw new Error("the disk took only a part");
          at += bytesWritten;
          onProgress((done += bytesWritten));
        }
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }
}
