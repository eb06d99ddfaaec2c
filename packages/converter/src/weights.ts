/** Plans where every weight lies in the data file, then writes it as a stream: never more than a piece in memory. */
import { type FileHandle, open } from "node:fs/promises";
import { WEIGHTS_FILE } from "@glimpse/engine";
import {
  type Encoded,
  type Encoding,
  encodePieces,
  sizesOf,
  widen,
  type Widening,
} from "./encoding.ts";
import type { ExternalData } from "./onnx.ts";
import type { Checkpoint } from "./safetensors.ts";

const ALIGNMENT = 64;

/** A tensor of the checkpoint, seen as [rows, width]; `widening` inserts zeros. */
export type WeightPart = {
  name: string;
  shape: readonly number[];
  rows: number;
  width: number;
  widening?: Widening;
};

/** Where a weight's elements lie and, if it is quantised, its scales. */
export type Place = { data: ExternalData; scales: ExternalData };

type Planned = Place & { parts: readonly WeightPart[]; encoding: Encoding };

export class WeightPlan {
  readonly #checkpoint: Checkpoint;
  readonly #planned = new Map<string, Planned>();
  #end = 0;

  constructor(checkpoint: Checkpoint) {
    this.#checkpoint = checkpoint;
  }

  /** Bytes of all planned weights. */
  get bytes(): number {
    const planned = [...this.#planned.values()];
    return planned.reduce((sum, { data, scales }) => sum + data.length + scales.length, 0);
  }

  /**
   * The place of the parts' rows, one part after the other, the same for everyone who asks.
   * Throws EngineError `invalid_checkpoint` unless the tensors are there, of these shapes.
   */
  place = (parts: readonly WeightPart[], encoding: Encoding): Place => {
    for (const { name, shape } of parts) this.#checkpoint.expect(name, shape);
    const key = `${encoding} ${parts.map(({ name }) => name).join(" ")}`;
    let place = this.#planned.get(key);
    if (!place) {
      const rows = parts.reduce((sum, part) => sum + part.rows, 0);
      const { data, scales } = sizesOf(encoding, rows, parts[0]!.width);
      place = { data: this.#reserve(data), scales: this.#reserve(scales), parts, encoding };
      this.#planned.set(key, place);
    }
    return place;
  };

  /** Writes all planned weights; `onProgress` hears of the bytes written. */
  async write(path: string, onProgress: (bytes: number) => void): Promise<void> {
    const file = await open(path, "wx");
    let done = 0;
    try {
      for (const { parts, encoding, data, scales } of this.#planned.values()) {
        let [dataAt, scalesAt] = [data.offset, scales.offset];
        for (const part of parts) {
          const pieces = widen(this.#checkpoint.read(part.name), part.widening);
          for await (const piece of encodePieces(pieces, encoding, part.width)) {
            dataAt += await writeAll(file, piece.data, dataAt);
            if (piece.scales) scalesAt += await writeAll(file, piece.scales, scalesAt);
            onProgress((done += piece.data.byteLength + (piece.scales?.byteLength ?? 0)));
          }
        }
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }

  #reserve(length: number): ExternalData {
    const place = { location: WEIGHTS_FILE, offset: this.#end, length };
    this.#end = Math.ceil((place.offset + length) / ALIGNMENT) * ALIGNMENT;
    return place;
  }
}

async function writeAll(file: FileHandle, piece: Encoded["data"], at: number): Promise<number> {
  const { bytesWritten } = await file.write(piece, 0, piece.byteLength, at);
  if (bytesWritten !== piece.byteLength) throw new Error("the disk took only a part");
  return bytesWritten;
}
