/**
 * ONNX Runtime through its C API, by FFI over the library that onnxruntime-node ships: that package's own session API
 * runs on the event loop and copies every output, so a KV cache too. The only file that knows pointers; it knows no
 * model. Graphs load and run on worker threads and leave the event loop free.
 * Device seam: a runtime's memory info and allocator, and the session options, are all that depends on the device.
 */
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import koffi, { type LibraryHandle } from "koffi";
import { EngineError } from "./errors.ts";
import { describe, type ElementType, type Handle, Tensor, type TensorSpec } from "./tensor.ts";

type NativeFunction = ReturnType<LibraryHandle["func"]>;

const API_VERSION = 24;
const TABLE_LENGTH = 128;

/** Slot in the OrtApi table and C signature. Slots are append-only across versions (onnxruntime_c_api.h). */
const FUNCTIONS = {
  GetErrorMessage: [2, "str (void *status)"],
  CreateEnv: [3, "void * (int level, str id, _Out_ void **env)"],
  CreateSession: [7, "void * (void *env, str path, void *options, _Out_ void **session)"],
  Run: [
    9,
    `void * (void *session, void *options, str *names, void **values, size_t count,
             str *outNames, size_t outCount, void **outValues)`,
  ],
  CreateSessionOptions: [10, "void * (_Out_ void **options)"],
  SetIntraOpNumThreads: [24, "void * (void *options, int threads)"],
  SessionGetInputCount: [30, "void * (void *session, _Out_ size_t *count)"],
  SessionGetOutputCount: [31, "void * (void *session, _Out_ size_t *count)"],
  SessionGetInputTypeInfo: [33, "void * (void *session, size_t index, _Out_ void **info)"],
  SessionGetOutputTypeInfo: [34, "void * (void *session, size_t index, _Out_ void **info)"],
  SessionGetInputName: [
    36,
    "void * (void *session, size_t index, void *allocator, _Out_ void **name)",
  ],
  SessionGetOutputName: [
    37,
    "void * (void *session, size_t index, void *allocator, _Out_ void **name)",
  ],
  CreateTensorAsOrtValue: [
    48,
    "void * (void *allocator, int64_t *dims, size_t rank, int type, _Out_ void **value)",
  ],
  CreateTensorWithDataAsOrtValue: [
    49,
    `void * (void *memory, void *data, size_t bytes, int64_t *dims, size_t rank, int type,
             _Out_ void **value)`,
  ],
  CastTypeInfoToTensorInfo: [55, "void * (void *info, _Out_ void **tensorInfo)"],
  GetTensorElementType: [60, "void * (void *tensorInfo, _Out_ int *type)"],
  GetDimensionsCount: [61, "void * (void *tensorInfo, _Out_ size_t *rank)"],
  GetDimensions: [62, "void * (void *tensorInfo, _Out_ int64_t *dims, size_t rank)"],
  CreateCpuMemoryInfo: [69, "void * (int allocator, int memory, _Out_ void **info)"],
  AllocatorFree: [76, "void * (void *allocator, void *pointer)"],
  GetAllocatorWithDefaultOptions: [78, "void * (_Out_ void **allocator)"],
  ReleaseEnv: [92, "void (void *env)"],
  ReleaseStatus: [93, "void (void *status)"],
  ReleaseMemoryInfo: [94, "void (void *info)"],
  ReleaseSession: [95, "void (void *session)"],
  ReleaseValue: [96, "void (void *value)"],
  ReleaseTypeInfo: [98, "void (void *info)"],
  ReleaseSessionOptions: [100, "void (void *options)"],
} as const;
type FunctionName = keyof typeof FUNCTIONS;

/** `handle` is held for as long as the functions: koffi unloads a library whose handle is collected. */
type Library = { handle: LibraryHandle; functions: Record<FunctionName, NativeFunction> };

/** ONNXTensorElementDataType. */
const ELEMENT_CODES: Record<ElementType, number> = { float32: 1, int32: 6, int64: 7 };

let library: Library | undefined;

function openLibrary(): Library {
  try {
    // Since 1.29 the library reports its use over the network, reading the command line for it (a long one crashes it).
    process.env["ORT_DISABLE_TELEMETRY"] = "1"; // oxlint-disable-line node/no-process-env -- its only switch
    const root = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
    const folder = join(root, "bin", "napi-v6", process.platform, process.arch);
    const file = readdirSync(folder).find((name) => name.startsWith("libonnxruntime."));
    if (file === undefined) throw new Error(`no libonnxruntime in ${folder}`);
    // Loading a graph recurses deeper than the 128 KiB of stack that koffi gives an asynchronous call.
    koffi.config({ async_stack_size: 8 * 2 ** 20 });
    const handle = koffi.load(join(folder, file));
    const base = handle.func("void *OrtGetApiBase()")();
    const [getApi] = koffi.decode(base, koffi.array("void *", 1));
    const api = koffi.call(getApi, koffi.proto("void * (uint32_t version)"), API_VERSION);
    if (api === null) throw new Error(`${file} has no API version ${API_VERSION}`);
    const table: Handle[] = koffi.decode(api, koffi.array("void *", TABLE_LENGTH));
    const functions = Object.entries(FUNCTIONS).map(([name, [slot, signature]]) => [
      name,
      koffi.decode(table[slot], koffi.proto(signature)),
    ]);
    return { handle, functions: Object.fromEntries(functions) };
  } catch (cause) {
    const platform = `${process.platform}-${process.arch}`;
    throw new EngineError("engine_failure", `no ONNX Runtime for ${platform}`, { cause });
  }
}

/** The environment that graphs and tensors live in. Close it after them. */
export class Runtime {
  readonly #functions: Library["functions"];
  readonly #env: Handle;
  readonly #memory: Handle;
  readonly #allocator: Handle;

  constructor() {
    const FATAL = 4; // the runtime's own log stays silent: its errors come back as statuses
    const ARENA = 1;
    const DEFAULT_MEMORY = 0;
    library ??= openLibrary();
    this.#functions = library.functions;
    this.#env = this.#create("CreateEnv", FATAL, "glimpse");
    this.#memory = this.#create("CreateCpuMemoryInfo", ARENA, DEFAULT_MEMORY);
    this.#allocator = this.#create("GetAllocatorWithDefaultOptions"); // not ours to release
  }

  /** A tensor over `data`, which stays shared: writing into one changes the other. */
  tensor(data: Float32Array | Int32Array, dims: readonly number[]): Tensor {
    const type = data instanceof Float32Array ? "float32" : "int32";
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

  /** Runs a graph on another thread; outputs are written into the given tensors. */
  async run(
    graph: Handle,
    inputs: Record<string, Tensor>,
    outputs: Record<string, Tensor>,
  ): Promise<void> {
    const handles = (tensors: Record<string, Tensor>) =>
      Object.values(tensors).map((tensor) => tensor.handle);
    const given = [Object.keys(inputs), handles(inputs), Object.keys(inputs).length];
    const wanted = [Object.keys(outputs), Object.keys(outputs).length, handles(outputs)];
    this.#check("Run", await this.#callAsync("Run", graph, null, ...given, ...wanted));
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
    throw new EngineError("engine_failure", `ONNX Runtime failed in ${name}`, { cause });
  }
}

function nativeDims(dims: readonly number[]): [BigInt64Array, number] {
  return [BigInt64Array.from(dims, BigInt), dims.length];
}
