/**
 * ONNX Runtime: environment, tensors, graphs and runs. With ort-device.ts, ort-call.ts and ort-api.ts, the only file that
 * knows pointers; it knows no model. Graphs load and run on worker threads and leave the event loop free.
 */
import koffi from "koffi";
import type { Device } from "./device.ts";
import { EngineError } from "./errors.ts";
import { call, check, checkAsync, create, number } from "./ort-call.ts";
import { type DeviceMemory, OrtDevice } from "./ort-device.ts";
import {
  describe,
  ELEMENT_CODES,
  elementTypeOf,
  type ElementType,
  type Handle,
  nativeDims,
  sizeOf,
  Tensor,
  type TensorData,
  type TensorSpec,
} from "./tensor.ts";

/** Native memory of ours: the address is good for as long as this object is held. */
export type Pinned = { readonly address: Handle; readonly memory: readonly ArrayBufferView[] };

/** The environment that graphs and tensors live in. Close it after them. */
export class Runtime {
  readonly #env: Handle;
  /** Of our arrays, whatever the device. */
  readonly #memory: Handle;
  readonly #allocator: Handle;
  readonly #device: OrtDevice;
  readonly #blocking: boolean;

  /**
   * @param blocking runs block the calling thread instead of going to another
   * Throws EngineError `engine_failure` where the runtime or the device is missing.
   */
  constructor(device: Device = { type: "cpu" }, blocking = false) {
    this.#blocking = blocking;
    const FATAL = 4; // the runtime's own log stays silent: its errors come back as statuses
    const ARENA = 1;
    const DEFAULT_MEMORY = 0;
    this.#env = create("CreateEnv", FATAL, "glimpse");
    this.#memory = create("CreateCpuMemoryInfo", ARENA, DEFAULT_MEMORY);
    this.#allocator = create("GetAllocatorWithDefaultOptions"); // not ours to release
    try {
      this.#device = new OrtDevice(this.#env, device);
    } catch (error) {
      this.#releaseOwn();
      throw error;
    }
  }

  /** A tensor over `data`, which stays shared: writing into one changes the other. */
  tensor(data: TensorData, dims: readonly number[]): Tensor {
    const type = elementTypeOf(data);
    if (data.length !== sizeOf(dims)) {
      throw new EngineError(
        "engine_failure",
        `${data.length} elements for ${describe({ type, dims })}`,
      );
    }
    void data.buffer; // moves a small array off the JavaScript heap, where it would not stay in place
    const at = [data, data.byteLength, ...nativeDims(dims), ELEMENT_CODES[type]];
    const handle = create("CreateTensorWithDataAsOrtValue", this.#memory, ...at);
    return new Tensor({ type, dims }, handle, () => call("ReleaseValue", handle), data);
  }

  /** Loads a graph and the weights it points to. `threads` work inside one operator, the calling one included. */
  async loadGraph(path: string, threads: number): Promise<Handle> {
    const options = create("CreateSessionOptions");
    try {
      check("SetIntraOpNumThreads", options, threads);
      this.#device.configure(options);
      const out: [Handle | null] = [null];
      await checkAsync("CreateSession", this.#env, path, options, out);
      return out[0]!;
    } finally {
      call("ReleaseSessionOptions", options);
    }
  }

  /** The memory on the device that a graph computes in. */
  openMemory(graph: Handle): DeviceMemory {
    return this.#device.openMemory(graph);
  }

  /** The names, types and dimensions that a graph declares. */
  specs(graph: Handle, kind: "Input" | "Output"): Map<string, TensorSpec> {
    const count = number(`SessionGet${kind}Count`, graph);
    const indexes = Array.from({ length: count }, (_, index) => index);
    return new Map(
      indexes.map((index) => {
        const text = create(`SessionGet${kind}Name`, graph, index, this.#allocator);
        const name: string = koffi.decode.string(text);
        check("AllocatorFree", this.#allocator, text);
        return [name, this.#spec(create(`SessionGet${kind}TypeInfo`, graph, index))];
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
    if (this.#blocking) check("Run", ...args);
    else await checkAsync("Run", ...args);
  }

  releaseGraph(graph: Handle): void {
    call("ReleaseSession", graph);
  }

  close(): void {
    this.#device.close();
    this.#releaseOwn();
  }

  #releaseOwn(): void {
    call("ReleaseMemoryInfo", this.#memory);
    call("ReleaseEnv", this.#env);
  }

  #spec(info: Handle): TensorSpec {
    try {
      const tensor = create("CastTypeInfoToTensorInfo", info); // a view of info
      const code = number("GetTensorElementType", tensor);
      const dims = new BigInt64Array(number("GetDimensionsCount", tensor));
      check("GetDimensions", tensor, dims, dims.length);
      const types = Object.keys(ELEMENT_CODES) as ElementType[];
      const type = types.find((name) => ELEMENT_CODES[name] === code);
      if (!type) throw new EngineError("engine_failure", `a graph has elements of type ${code}`);
      return { type, dims: Array.from(dims, Number) };
    } finally {
      call("ReleaseTypeInfo", info);
    }
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
