/** Tensors by type, dimensions and an opaque handle; what is behind the handle is the binding's (ort.ts). */

export type ElementType = "float32" | "float16" | "int32" | "int64";
export type TensorData = Float32Array | Float16Array | Int32Array | BigInt64Array;
/** A dimension of -1 is free. */
export type TensorSpec = { type: ElementType; dims: readonly number[] };
/** Something native: only the binding looks behind it. */
export type Handle = bigint;

/** ONNXTensorElementDataType. */
export const ELEMENT_CODES: Record<ElementType, number> = {
  float32: 1,
  int32: 6,
  int64: 7,
  float16: 10,
};
export const ELEMENT_BYTES: Record<ElementType, number> = {
  float32: 4,
  int32: 4,
  int64: 8,
  float16: 2,
};

/** A native tensor. Whoever makes it disposes of it, once no run uses it. */
export class Tensor implements Disposable {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly handle: Handle;
  /** What it lies over, if on our side: held here so that the collector leaves it. */
  readonly data: TensorData | undefined;
  readonly #release: () => void;

  constructor(spec: TensorSpec, handle: Handle, release: () => void, data?: TensorData) {
    this.type = spec.type;
    this.dims = spec.dims;
    this.handle = handle;
    this.data = data;
    this.#release = release;
  }

  [Symbol.dispose](): void {
    this.#release();
  }
}

export function elementTypeOf(data: TensorData): ElementType {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float16Array) return "float16";
  return data instanceof Int32Array ? "int32" : "int64";
}

export function sizeOf(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/** Dimensions as the C API takes them. */
export function nativeDims(dims: readonly number[]): [dims: BigInt64Array, rank: number] {
  return [BigInt64Array.from(dims, BigInt), dims.length];
}

/** For messages: shapes, never data. */
export function describe({ type, dims }: TensorSpec): string {
  return `${type}[${dims.join(", ")}]`;
}
