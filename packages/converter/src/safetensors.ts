/** Safetensors checkpoints, in one file or sharded: which tensors there are, and their data as a stream. Knows no model. */
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { EngineError } from "@glimpse/engine";
import { z } from "zod";

const SINGLE_FILE = "model.safetensors";
const INDEX_FILE = "model.safetensors.index.json";
const PREFIX_BYTES = 8; // the header's length, little-endian
const MAX_HEADER_BYTES = 100 * 2 ** 20; // the format's own limit
const CHUNK_BYTES = 2 ** 20; // converted in a few milliseconds on the event loop
const ELEMENT_BYTES: Record<string, number> = { F32: 4, F16: 2, BF16: 2 };

const Entry = z.object({
  dtype: z.string(),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
});
const Header = z.record(z.string(), z.unknown());
/** Shards are plain names: a path could lead out of the checkpoint. */
const ShardName = z.string().regex(/^[^/\\]+\.safetensors$/);
const Index = z.object({ weight_map: z.record(z.string(), ShardName) });

type Tensor = {
  file: FileHandle;
  fileName: string;
  dtype: string;
  shape: number[];
  offset: number;
  bytes: number;
};

export class Checkpoint {
  readonly #files: FileHandle[] = [];
  readonly #tensors = new Map<string, Tensor>();

  /** Reads the headers. Throws EngineError `invalid_checkpoint` that names the file and what is wrong with it. */
  static async open(dir: string): Promise<Checkpoint> {
    const checkpoint = new Checkpoint();
    try {
      const single = await openIfPresent(join(dir, SINGLE_FILE));
      if (single) await checkpoint.#add(single, SINGLE_FILE);
      else await checkpoint.#addShards(dir);
      return checkpoint;
    } catch (error) {
      await checkpoint.close();
      throw error;
    }
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** Throws EngineError `invalid_checkpoint` unless the tensor is there, of this shape and of numbers we read. */
  expect(name: string, shape: readonly number[]): void {
    const tensor = this.#tensors.get(name);
    if (!tensor) throw invalid(`tensor ${name} [${shape.join(", ")}] is missing`);
    if (tensor.shape.join() !== shape.join()) {
      throw invalid(
        `tensor ${name} should be [${shape.join(", ")}] by config.json, found [${tensor.shape.join(", ")}] in ${tensor.fileName}`,
      );
    }
    if (!(tensor.dtype in ELEMENT_BYTES)) {
      throw new EngineError(
        "unsupported_architecture",
        `tensor ${name} is ${tensor.dtype}, not F32, F16 or BF16`,
      );
    }
  }

  /** The tensor's elements in order, as float32 pieces of at most 2 MB. */
  async *read(name: string): AsyncGenerator<Float32Array> {
    const tensor = this.#tensors.get(name);
    if (!tensor) throw invalid(`tensor ${name} is missing`);
    for (let done = 0; done < tensor.bytes; done += CHUNK_BYTES) {
      const bytes = Math.min(CHUNK_BYTES, tensor.bytes - done);
      yield toFloat32(
        await readBytes(tensor.file, tensor.fileName, tensor.offset + done, bytes),
        tensor.dtype,
      );
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map((file) => file.close()));
  }

  async #addShards(dir: string): Promise<void> {
    const text = await readFile(join(dir, INDEX_FILE), "utf8").catch((cause: unknown) => {
      throw invalid(`neither ${SINGLE_FILE} nor ${INDEX_FILE} can be read in ${dir}`, cause);
    });
    const { weight_map: map } = parse(text, Index, INDEX_FILE);
    for (const fileName of new Set(Object.values(map))) {
      const file = await openIfPresent(join(dir, fileName));
      if (!file) throw invalid(`${fileName}, named by ${INDEX_FILE}, is missing`);
      await this.#add(file, fileName);
    }
    for (const [name, fileName] of Object.entries(map)) {
      if (this.#tensors.get(name)?.fileName !== fileName) {
        throw invalid(`${INDEX_FILE} says that ${name} is in ${fileName}, which does not hold it`);
      }
    }
  }

  async #add(file: FileHandle, fileName: string): Promise<void> {
    this.#files.push(file);
    const { size } = await file.stat();
    const headerBytes = Number(
      (await readBytes(file, fileName, 0, PREFIX_BYTES)).readBigUInt64LE(),
    );
    const start = PREFIX_BYTES + headerBytes;
    if (headerBytes > MAX_HEADER_BYTES || start > size) {
      throw invalid(`${fileName} is not a safetensors file, or is truncated (${size} bytes)`);
    }
    const text = (await readBytes(file, fileName, PREFIX_BYTES, headerBytes)).toString();
    for (const [name, value] of Object.entries(parse(text, Header, `the header of ${fileName}`))) {
      if (name === "__metadata__") continue;
      const entry = Entry.safeParse(value).data;
      if (!entry)
        throw invalid(`the header of ${fileName} describes ${name} in a form that cannot be read`);
      const { dtype, shape } = entry;
      const [begin, end] = entry.data_offsets;
      const bytes = end - begin;
      if (begin > end || start + end > size) {
        throw invalid(
          `${fileName} is truncated: ${name} is at bytes ${begin} to ${end} of ${size - start}`,
        );
      }
      // A type that we do not know has its place in a file, as long as nobody asks for it.
      const elementBytes = ELEMENT_BYTES[dtype];
      if (
        elementBytes !== undefined &&
        bytes !== shape.reduce((product, dim) => product * dim, elementBytes)
      ) {
        throw invalid(
          `${fileName} gives ${name} ${bytes} bytes, which are not ${dtype} [${shape.join(", ")}]`,
        );
      }
      this.#tensors.set(name, { file, fileName, dtype, shape, offset: start + begin, bytes });
    }
  }
}

async function openIfPresent(path: string): Promise<FileHandle | undefined> {
  return open(path).catch(() => undefined);
}

async function readBytes(
  file: FileHandle,
  fileName: string,
  position: number,
  length: number,
): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position).catch((cause: unknown) => {
    throw invalid(`${fileName} cannot be read`, cause);
  });
  if (bytesRead !== length)
    throw invalid(`${fileName} is truncated: it ends at byte ${position + bytesRead}`);
  return buffer;
}

function toFloat32({ buffer, byteOffset, length }: Buffer, dtype: string): Float32Array {
  if (dtype === "F32") return new Float32Array(buffer, byteOffset, length / 4);
  if (dtype === "F16") return new Float32Array(new Float16Array(buffer, byteOffset, length / 2));
  // bfloat16 is the upper half of a float32. A plain loop: callbacks would take ten times as long.
  const halves = new Uint16Array(buffer, byteOffset, length / 2);
  const words = new Uint32Array(halves.length);
  for (let i = 0; i < words.length; i++) words[i] = halves[i]! << 16;
  return new Float32Array(words.buffer);
}

function parse<T>(text: string, schema: z.ZodType<T>, what: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw invalid(`${what} cannot be read`, cause);
  }
}

function invalid(message: string, cause?: unknown): EngineError {
  return new EngineError("invalid_checkpoint", message, { cause });
}
