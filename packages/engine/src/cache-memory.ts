/**
 * Where keys and values lie: in arrays of ours, or in memory of the runtime's that only graphs reach, as on a card.
 * Both give tensors and copy pieces between them. Knows elements; no layers, slots or tokens.
 */
import { EngineError } from "./errors.ts";
import { COPY_IO } from "./manifest.ts";
import type { Runtime } from "./ort.ts";
import type { DeviceMemory } from "./ort-device.ts";
import type { NamedTensors, Session } from "./session.ts";
import { type ElementType, sizeOf, type Tensor, type TensorData } from "./tensor.ts";

/** Elements of a tensor, to be copied to another place. Places do not overlap. */
export type Piece = { from: Tensor; fromAt: number; to: Tensor; toAt: number; size: number };
export type CacheElement = Extract<ElementType, "float32" | "float16">;

export interface CacheMemory {
  readonly type: CacheElement;
  /** Whether tensors begin as zeros. */
  readonly isZeroed: boolean;
  /** A tensor [elements]. Throws AllocationError. */
  allocate(elements: number): Tensor;
  /** A tensor [elements] to copy from, in arrays of ours. */
  zeros(elements: number): Tensor;
  /** Part of such a tensor, over the same memory; to be disposed of before it. */
  view(whole: Tensor, at: number, dims: readonly number[]): Tensor;
  /** Copies now, or before anything that comes after `settled`. */
  copy(pieces: readonly Piece[]): void;
  /** Disposes of tensors once no copy uses them. */
  release(tensors: readonly Tensor[]): void;
  /** Resolves when all copies are done. Throws EngineError `engine_failure` if one failed: what they wrote is void. */
  settled(): Promise<void>;
  /** Only once settled, and after its tensors. */
  close(): void;
}

export function hostCache(runtime: Runtime, type: CacheElement): CacheMemory {
  const zeros = (elements: number) => zeroTensor(runtime, type, elements);
  return {
    type,
    isZeroed: true,
    allocate: zeros,
    zeros,
    view: (whole, at, dims) =>
      runtime.tensor(elementsOf(whole).subarray(at, at + sizeOf(dims)), dims),
    copy(pieces) {
      for (const { from, fromAt, to, toAt, size } of pieces)
        elementsOf(to).set(elementsOf(from).subarray(fromAt, fromAt + size), toAt);
    },
    release: dispose,
    settled: () => Promise.resolve(),
    close: () => undefined,
  };
}

/**
 * @param owner the graph whose tensors these are
 * @param copier the graph of COPY_IO; as many pieces as it has belong to each copy
 */
export function deviceCache(
  runtime: Runtime,
  owner: Session,
  copier: Session,
  type: CacheElement,
): CacheMemory {
  const memory: DeviceMemory = owner.openMemory();
  /** Copies run one after the other, beside the event loop. */
  let last = Promise.resolve();
  let waiting = 0;

  async function run(pieces: readonly Piece[]): Promise<void> {
    using views = new DisposableStack();
    const view = (tensor: Tensor, at: number, size: number) =>
      views.use(
        tensor.data
          ? runtime.tensor(elementsOf(tensor).subarray(at, at + size), [size])
          : memory.view(tensor, at, [size]),
      );
    const sources: NamedTensors = {};
    const targets: NamedTensors = {};
    for (const [i, { from, fromAt, to, toAt, size }] of pieces.entries()) {
      sources[COPY_IO.source(i)] = view(from, fromAt, size);
      targets[COPY_IO.target(i)] = view(to, toAt, size);
    }
    await copier.bind(sources, targets).run();
  }

  return {
    type,
    isZeroed: false,
    allocate: (elements) => memory.allocate(type, [elements]),
    zeros: (elements) => zeroTensor(runtime, type, elements),
    view: (whole, at, dims) => memory.view(whole, at, dims),
    copy(pieces) {
      waiting++;
      last = last.then(() => run(pieces)).finally(() => void waiting--);
      last.catch(() => undefined); // `settled` tells
    },
    release(tensors) {
      if (waiting === 0) return dispose(tensors);
      last = last.finally(() => dispose(tensors));
      last.catch(() => undefined);
    },
    settled: () =>
      last.catch((cause: unknown) => {
        // Not an AllocationError, even if it is one: what was to be copied is lost.
        throw new EngineError("engine_failure", "the KV cache could not be copied", { cause });
      }),
    close: () => memory.close(),
  };
}

function zeroTensor(runtime: Runtime, type: CacheElement, elements: number): Tensor {
  const Elements = type === "float16" ? Float16Array : Float32Array;
  return runtime.tensor(new Elements(elements), [elements]);
}

function dispose(tensors: readonly Tensor[]): void {
  for (const tensor of tensors) tensor[Symbol.dispose]();
}

function elementsOf({ data }: Tensor): Exclude<TensorData, BigInt64Array | Int32Array> {
  if (data instanceof Float32Array || data instanceof Float16Array) return data;
  throw new EngineError("engine_failure", "a cache's tensor is not over an array of floats");
}
