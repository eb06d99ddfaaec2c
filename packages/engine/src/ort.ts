/**
 * ONNX Runtime through its C API, by FFI over the library that onnxruntime-node ships: its JavaScript session API runs
 * on the event loop and copies every output, so a KV cache too. This is the only file that knows pointers; it knows
 * nothing of models. Loading and running happen on worker threads and leave the event loop free.
 * Device seam: `openRuntime` picks the execution provider, `Runtime.allocate` the allocator; nothing else depends on it.
 */
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import koffi from "koffi";
import { EngineError } from "./errors.ts";

type Pointer = bigint;
type Native = ReturnType<typeof koffi.decode>;

const API_VERSION = 24;

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

/** ONNXTensorElementDataType of the element types in use. */
const ELEMENT_CODES = { float32: 1, int32: 6, int64: 7, float16: 10 } as const;
export type ElementType = keyof typeof ELEMENT_CODES;
export type TensorData = Float32Array | Int32Array;

/** What a graph declares of an input or output; a dimension of -1 is free. */
export type TensorSpec = { type: ElementType; dims: number[] };
export type NamedTensors = Record<string, Tensor>;

export type RuntimeOptions = {
  /** Where graphs run. */
  device: "cpu";
};
export type SessionOptions = {
  /** Threads inside one operator, the calling one included. */
  threads: number;
};

/** Opens the library once a process; every runtime shares it. */
let library: Record<FunctionName, Native> | undefined;

function openLibrary(): Record<FunctionName, Native> {
  try {
    const root = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
    const folder = join(root, "bin", "napi-v6", process.platform, process.arch);
    const file = readdirSync(folder).find((name) => name.startsWith("libonnxruntime."));
    if (file === undefined) throw new Error(`no libonnxruntime in ${folder}`);
    // Graph optimisation recurses deeper than the 128 KiB that koffi gives an asynchronous call.
    koffi.config({ async_stack_size: 8 << 20 });
    const getBase = koffi.load(join(folder, file)).func("void *OrtGetApiBase()");
    const [getApi] = koffi.decode(getBase(), koffi.array("void *", 1));
    const api = koffi.call(getApi, koffi.proto("void * (uint32_t version)"), API_VERSION);
    if (api === null) throw new Error(`API version ${API_VERSION} is not in ${file}`);
    const table: Pointer[] = koffi.decode(api, koffi.array("void *", 128));
    return Object.fromEntries(
      Object.entries(FUNCTIONS).map(([name, [slot, signature]]) => [
        name,
        koffi.decode(table[slot], koffi.proto(signature)),
      ]),
    ) as Record<FunctionName, Native>;
  } catch (cause) {
    throw new EngineError(
      "engine_failure",
      `no ONNX Runtime library for ${process.platform}-${process.arch}`,
      { cause },
    );
  }
}

/** The environment that sessions and tensors live in. */
export function openRuntime(options: RuntimeOptions): Runtime {
  library ??= openLibrary();
  return new Runtime(library, options);
}

export class Runtime {
  readonly device: RuntimeOptions["device"];
  readonly #api: Record<FunctionName, Native>;
  readonly #env: Pointer;
  readonly #memory: Pointer;
  readonly #allocator: Pointer;

  constructor(api: Record<FunctionName, Native>, options: RuntimeOptions) {
    const FATAL = 4; // the runtime's own log stays silent: its errors come back as statuses
    const ARENA = 1;
    const DEFAULT = 0;
    this.device = options.device;
    this.#api = api;
    this.#env = this.create("CreateEnv", FATAL, "glimpse");
    this.#memory = this.create("CreateCpuMemoryInfo", ARENA, DEFAULT);
    this.#allocator = this.create("GetAllocatorWithDefaultOptions");
  }

  /** A tensor over `data`, which stays shared: writing into it changes the tensor. */
  tensor(data: TensorData, dims: readonly number[]): Tensor {
    const type: ElementType = data instanceof Float32Array ? "float32" : "int32";
    if (data.length !== product(dims))
      throw new EngineError("engine_failure", `${data.length} elements do not fill [${dims}]`);
    void data.buffer; // moves a small array off the JavaScript heap, where it would not stay in place
    const handle = this.create(
      "CreateTensorWithDataAsOrtValue",
      this.#memory,
      data,
      data.byteLength,
      ...shape(dims),
      ELEMENT_CODES[type],
    );
    return new Tensor(this, handle, type, dims, data);
  }

  /** An uninitialised tensor in the device's memory. */
  allocate(type: ElementType, dims: readonly number[]): Tensor {
    const handle = this.create(
      "CreateTensorAsOrtValue",
      this.#allocator,
      ...shape(dims),
      ELEMENT_CODES[type],
    );
    return new Tensor(this, handle, type, dims);
  }

  /** Loads a graph with the weights it points to; `name` names it in errors. */
  async load(name: string, path: string, { threads }: SessionOptions): Promise<Session> {
    const options = this.create("CreateSessionOptions");
    try {
      this.check(this.call("SetIntraOpNumThreads", options, threads));
      const out: [Pointer | null] = [null];
      const status = await this.callAsync("CreateSession", this.#env, path, options, out);
      this.check(status, `the ${name} graph could not be loaded`);
      return new Session(this, name, out[0]!, this.#allocator);
    } finally {
      this.call("ReleaseSessionOptions", options);
    }
  }

  close(): void {
    this.call("ReleaseMemoryInfo", this.#memory);
    this.call("ReleaseEnv", this.#env);
  }

  call(name: FunctionName, ...args: unknown[]): unknown {
    return this.#api[name](...args);
  }

  callAsync(name: FunctionName, ...args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#api[name].async(...args, (error: unknown, result: unknown) =>
        error ? reject(error) : resolve(result),
      );
    });
  }

  /** Calls a function whose last parameter receives a new handle. */
  create(name: FunctionName, ...args: unknown[]): Pointer {
    const out: [Pointer | null] = [null];
    this.check(this.call(name, ...args, out), `ONNX Runtime failed in ${name}`);
    return out[0]!;
  }

  /** Calls a function whose last parameter receives a number. */
  number(name: FunctionName, ...args: unknown[]): number {
    const out = [0];
    this.check(this.call(name, ...args, out), `ONNX Runtime failed in ${name}`);
    return Number(out[0]);
  }

  check(status: unknown, message = "ONNX Runtime failed"): void {
    if (status === null) return;
    const cause = new Error(this.call("GetErrorMessage", status) as string);
    this.call("ReleaseStatus", status);
    throw new EngineError("engine_failure", message, { cause });
  }
}

/** A native tensor. Whoever makes it closes it, after the runs that use it. */
export class Tensor {
  readonly handle: Pointer;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly #runtime: Runtime;
  /** Held so that the collector leaves it to the native side. */
  readonly data: TensorData | undefined;

  constructor(
    runtime: Runtime,
    handle: Pointer,
    type: ElementType,
    dims: readonly number[],
    data?: TensorData,
  ) {
    this.#runtime = runtime;
    this.handle = handle;
    this.type = type;
    this.dims = dims;
    this.data = data;
  }

  [Symbol.dispose](): void {
    this.#runtime.call("ReleaseValue", this.handle);
  }
}

/** A loaded graph. */
export class Session {
  readonly name: string;
  readonly inputs: ReadonlyMap<string, TensorSpec>;
  readonly outputs: ReadonlyMap<string, TensorSpec>;
  readonly #runtime: Runtime;
  readonly #handle: Pointer;
  readonly #running = new Set<Promise<unknown>>();

  constructor(runtime: Runtime, name: string, handle: Pointer, allocator: Pointer) {
    this.#runtime = runtime;
    this.name = name;
    this.#handle = handle;
    this.inputs = this.#specs(allocator, "Input");
    this.outputs = this.#specs(allocator, "Output");
  }

  /**
   * Runs the graph on another thread. Outputs are written into the given tensors; one tensor may be input and output at
   * once, where an operator works in place. Tensors must stay open until this resolves.
   */
  async run(inputs: NamedTensors, outputs: NamedTensors): Promise<void> {
    validate(this.name, "input", inputs, this.inputs);
    validate(this.name, "output", outputs, this.outputs);
    const names = [Object.keys(inputs), Object.keys(outputs)] as const;
    const handles = [inputs, outputs].map((named) =>
      Object.values(named).map((tensor) => tensor.handle),
    );
    const run = this.#runtime.callAsync(
      "Run",
      ...[this.#handle, null],
      ...[names[0], handles[0], names[0].length],
      ...[names[1], names[1].length, handles[1]],
    );
    this.#running.add(run);
    const status = await run.finally(() => this.#running.delete(run));
    this.#runtime.check(status, `the ${this.name} graph failed on ${describe(inputs)}`);
  }

  /** Waits for what is running. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#running);
    this.#runtime.call("ReleaseSession", this.#handle);
  }

  #specs(allocator: Pointer, kind: "Input" | "Output"): Map<string, TensorSpec> {
    const count = this.#runtime.number(`SessionGet${kind}Count`, this.#handle);
    return new Map(
      Array.from({ length: count }, (_, i) => {
        const text = this.#runtime.create(`SessionGet${kind}Name`, this.#handle, i, allocator);
        const name = koffi.decode.string(text);
        this.#runtime.check(this.#runtime.call("AllocatorFree", allocator, text));
        return [
          name,
          this.#spec(this.#runtime.create(`SessionGet${kind}TypeInfo`, this.#handle, i)),
        ];
      }),
    );
  }

  #spec(info: Pointer): TensorSpec {
    const tensor = this.#runtime.create("CastTypeInfoToTensorInfo", info);
    const code = this.#runtime.number("GetTensorElementType", tensor);
    const dims = new BigInt64Array(this.#runtime.number("GetDimensionsCount", tensor));
    this.#runtime.check(this.#runtime.call("GetDimensions", tensor, dims, dims.length));
    this.#runtime.call("ReleaseTypeInfo", info);
    const type = (Object.keys(ELEMENT_CODES) as ElementType[]).find(
      (name) => ELEMENT_CODES[name] === code,
    );
    if (type === undefined)
      throw new EngineError("engine_failure", `the ${this.name} graph has tensors of type ${code}`);
    return { type, dims: Array.from(dims, Number) };
  }
}

/** Names, types and dimensions against what the graph declares. The message carries shapes, never data. */
function validate(
  graph: string,
  kind: string,
  given: NamedTensors,
  declared: ReadonlyMap<string, TensorSpec>,
): void {
  const missing = [...declared.keys()].filter((name) => !(name in given));
  const unknown = Object.keys(given).filter((name) => !declared.has(name));
  const wrong = Object.entries(given).filter(([name, { type, dims }]) => {
    const spec = declared.get(name);
    const fits = (size: number, i: number) => spec?.dims[i] === -1 || spec?.dims[i] === size;
    return spec && !(type === spec.type && dims.length === spec.dims.length && dims.every(fits));
  });
  const problems = [
    ...missing.map((name) => `${name} is missing`),
    ...unknown.map((name) => `${name} is unknown`),
    ...wrong.map(
      ([name, tensor]) =>
        `${describe({ [name]: tensor })} is not ${describe({ [name]: declared.get(name)! })}`,
    ),
  ];
  if (problems.length > 0)
    throw new EngineError(
      "engine_failure",
      `bad ${kind}s of the ${graph} graph: ${problems.join("; ")}`,
    );
}

function describe(tensors: Record<string, { type: ElementType; dims: readonly number[] }>): string {
  return Object.entries(tensors)
    .map(([name, { type, dims }]) => `${name} ${type}[${dims}]`)
    .join(", ");
}

function product(dims: readonly number[]): number {
  return dims.reduce((size, dim) => size * dim, 1);
}

function shape(dims: readonly number[]): [BigInt64Array, number] {
  return [BigInt64Array.from(dims, BigInt), dims.length];
}
