/**
 * ONNX Runtime: environment, tensors, graphs and runs. With ort-api.ts, the only file that knows pointers; it knows no
 * model. Graphs load and run on worker threads and leave the event loop free.
 * Device seam: a runtime's memory info and allocator, and the session options, are all that depends on the device.
 */
import koffi from "koffi";
import { AllocationError, EngineError } from "./errors.ts";
import { type FunctionName, type Functions, ortFunctions } from "./ort-api.ts";
import {
  describe,
  elementTypeOf,
  type ElementType,
  type Handle,
  Tensor,
  type TensorData,
  type TensorSpec,
} from "./tensor.ts";

/** ONNXTensorElementDataType. */
const ELEMENT_CODES: Record<ElementType, number> = { float32: 1, int32: 6, int64: 7, float16: 10 };

/** How the runtime says that there is no memory: its arena, the C++ library, CUDA. It has no status code for it. */
const OUT_OF_MEMORY = /failed to allocate memory|bad_alloc|out of memory/i;

/** Native memory of ours: the address is good for as long as this object is held. */
export type Pinned = { readonly address: Handle; readonly memory: readonly ArrayBufferView[] };

/** The environment that graphs and tensors live in. Close it after them. */
export class Runtime {
  readonly #functions: Functions;
  readonly #env: Handle;
  readonly #memory: Handle;
  readonly #allocator: Handle;
  readonly #blocking: boolean;

  /** @param blocking runs block the calling thread instead of going to another */
  constructor(blocking = false) {
    this.#blocking = blocking;
    const FATAL = 4; // the runtime's own log stays silent: its errors come back as statuses
    const ARENA = 1;
    const DEFAULT_MEMORY = 0;
    this.#functions = ortFunctions();
    this.#env = this.#create("CreateEnv", FATAL, "glimpse");
    this.#memory = this.#create("CreateCpuMemoryInfo", ARENA, DEFAULT_MEMORY);
    this.#allocator = this.#create("GetAllocatorWithDefaultOptions"); // not ours to release
  }

  /** A tensor over `data`, which stays shared: writing into one changes the other. */
  tensor(data: TensorData, dims: readonly number[]): Tensor {
    const type = elementTypeOf(data);
    const size = dims.reduce((product, dim) => product * dim, 1);
    if (data.length !== size) {
      throw new EngineError(
        "engine_failure",
        `${data.length} elements for ${describe({ type, dims })}`,
      );
    }
    void data.buffer; // moves a small array off the JavaScript heap, where it would not stay in place
    const at = [data, data.byteLength, ...nativeDims(dims), ELEMENT_CODES[type]];
    const handle = this.#create("CreateTensorWithDataAsOrtValue", this.#memory, ...at);
    return new Tensor({ type, dims }, handle, () => this.#call("ReleaseValue", handle), data);
  }

  /** An uninitialised tensor in the device's memory. */
  allocate(type: ElementType, dims: readonly number[]): Tensor {
    const shape = [...nativeDims(dims), ELEMENT_CODES[type]];
    const handle = this.#create("CreateTensorAsOrtValue", this.#allocator, ...shape);
    return new Tensor({ type, dims }, handle, () => this.#call("ReleaseValue", handle));
  }

  /** Loads a graph and the weights it points to. `threads` work inside one operator, the calling one included. */
  async loadGraph(path: string, threads: number): Promise<Handle> {
    const options = this.#create("CreateSessionOptions");
    try {
      this.#check("SetIntraOpNumThreads", this.#call("SetIntraOpNumThreads", options, threads));
      const out: [Handle | null] = [null];
      const args = [this.#env, path, options, out];
      this.#check("CreateSession", await this.#callAsync("CreateSession", ...args));
      return out[0]!;
    } finally {
      this.#call("ReleaseSessionOptions", options);
    }
  }

  /** The names, types and dimensions that a graph declares. */
  specs(graph: Handle, kind: "Input" | "Output"): Map<string, TensorSpec> {
    const count = this.#number(`SessionGet${kind}Count`, graph);
    const indexes = Array.from({ length: count }, (_, index) => index);
    return new Map(
      indexes.map((index) => {
        const text = this.#create(`SessionGet${kind}Name`, graph, index, this.#allocator);
        const name: string = koffi.decode.string(text);
        this.#check("AllocatorFree", this.#call("AllocatorFree", this.#allocator, text));
        return [name, this.#spec(this.#create(`SessionGet${kind}TypeInfo`, graph, index))];
      }),
    );
  }

  /**
   * Runs a graph, on another thread unless the runtime is a blocking one; outputs are written into the given tensors.
   * @param inputNames and outputNames from `pinStrings`, inputs and outputs from `pinHandles`, in the same order
   */
  async run(
    graph: Handle,
    inputNames: Pinned,
    inputs: Pinned,
    inputCount: number,
    outputNames: Pinned,
    outputs: Pinned,
    outputCount: number,
  ): Promise<void> {
    const given = [inputNames.address, inputs.address, inputCount];
    const wanted = [outputNames.address, outputCount, outputs.address];
    const args = [graph, null, ...given, ...wanted];
    const status = this.#blocking
      ? this.#call("Run", ...args)
      : await this.#callAsync("Run", ...args);
    this.#check("Run", status);
  }

  releaseGraph(graph: Handle): void {
    this.#call("ReleaseSession", graph);
  }

  close(): void {
    this.#call("ReleaseMemoryInfo", this.#memory);
    this.#call("ReleaseEnv", this.#env);
  }

  #spec(info: Handle): TensorSpec {
    try {
      const tensor = this.#create("CastTypeInfoToTensorInfo", info); // a view of info
      const code = this.#number("GetTensorElementType", tensor);
      const dims = new BigInt64Array(this.#number("GetDimensionsCount", tensor));
      this.#check("GetDimensions", this.#call("GetDimensions", tensor, dims, dims.length));
      const types = Object.keys(ELEMENT_CODES) as ElementType[];
      const type = types.find((name) => ELEMENT_CODES[name] === code);
      if (!type) throw new EngineError("engine_failure", `a graph has elements of type ${code}`);
      return { type, dims: Array.from(dims, Number) };
    } finally {
      this.#call("ReleaseTypeInfo", info);
    }
  }

  #call(name: FunctionName, ...args: unknown[]): unknown {
    return this.#functions[name](...args);
  }

  #callAsync(name: FunctionName, ...args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const done = (error: Error | null, result: unknown) =>
        error ? reject(error) : resolve(result);
      this.#functions[name].async(...args, done);
    });
  }

  /** Calls a function whose last parameter receives a handle. */
  #create(name: FunctionName, ...args: unknown[]): Handle {
    const out: [Handle | null] = [null];
    this.#check(name, this.#call(name, ...args, out));
    return out[0]!;
  }

  /** Calls a function whose last parameter receives a number. */
  #number(name: FunctionName, ...args: unknown[]): number {
    const out: [number | bigint] = [0];
    this.#check(name, this.#call(name, ...args, out));
    return Number(out[0]);
  }

  /** The runtime's own words stay in the cause: they are for a log, not for a user. */
  #check(name: FunctionName, status: unknown): void {
    if (status === null) return;
    const cause = new Error(String(this.#call("GetErrorMessage", status)));
    this.#call("ReleaseStatus", status);
    if (OUT_OF_MEMORY.test(cause.message))
      throw new AllocationError(`no memory for ONNX Runtime's ${name}`, { cause });
    throw new EngineError("engine_failure", `ONNX Runtime failed in ${name}`, { cause });
  }
}

/** The texts as C strings, and the array of their addresses. */
export function pinStrings(texts: readonly string[]): Pinned {
  const encoded = texts.map((text) => Buffer.from(`${text}\0`));
  const characters = new Uint8Array(Buffer.concat(encoded));
  let at = addressOf(characters);
  const starts = encoded.map(({ length }) => {
    const start = at;
    at += BigInt(length);
    return start;
  });
  const { address, memory } = pinHandles(starts);
  return { address, memory: [...memory, characters] };
}

export function pinHandles(handles: readonly Handle[]): Pinned {
  const memory = BigUint64Array.from(handles);
  return { address: addressOf(memory), memory: [memory] };
}

function addressOf(memory: ArrayBufferView): Handle {
  void memory.buffer; // moves a small array off the JavaScript heap
  return koffi.address(memory);
}

function nativeDims(dims: readonly number[]): [BigInt64Array, number] {
  return [BigInt64Array.from(dims, BigInt), dims.length];
}
