/**
 * The device seam: all that depends on the device are the provider that a graph's options name, and the memory that
 * graphs and caches share. Like ort.ts it knows pointers, and no model.
 */
import { type Device, hasHostCache } from "./device.ts";
import { EngineError } from "./errors.ts";
import { attempt, call, check, create } from "./ort-call.ts";
import {
  describe,
  ELEMENT_BYTES,
  ELEMENT_CODES,
  type ElementType,
  type Handle,
  nativeDims,
  sizeOf,
  Tensor,
} from "./tensor.ts";

const PROVIDERS = {
  cpu: { name: "CPUExecutionProvider", memory: "Cpu" },
  cuda: { name: "CUDAExecutionProvider", memory: "Cuda" },
} as const;
/** OrtAllocatorType and OrtMemType. */
const ARENA = 1;
const DEFAULT_MEMORY = 0;

/** The loader's words for a library that is not there. */
const MISSING_LIBRARY = /(lib[^\s/:]+\.so[.\d]*): cannot open shared object/;

/**
 * A device that the environment has been told of: one arena for all graphs and tensors, so that one limit holds for all.
 * The environment is the process's, so engines with arenas are loaded one after the other.
 */
export class OrtDevice {
  readonly #env: Handle;
  readonly #device: Device;
  readonly #memory: Handle;
  readonly #sharesArena: boolean;

  /** Throws EngineError `engine_failure` where the device or its libraries are missing. */
  constructor(env: Handle, device: Device) {
    this.#env = env;
    this.#device = device;
    this.#sharesArena = !hasHostCache(device);
    if (device.type === "cuda") requireCuda(idOf(device));
    const { memory } = PROVIDERS[device.type];
    this.#memory = create("CreateMemoryInfo", memory, ARENA, idOf(device), DEFAULT_MEMORY);
    if (this.#sharesArena) this.#registerArena();
  }

  /** Says in a graph's options where it is to run. */
  configure(options: Handle): void {
    if (this.#sharesArena)
      check("AddSessionConfigEntry", options, "session.use_env_allocators", "1");
    if (this.#device.type !== "cuda") return;
    withCudaOptions(idOf(this.#device), (cuda) =>
      check("SessionOptionsAppendExecutionProvider_CUDA_V2", options, cuda),
    );
  }

  /** The memory that a loaded graph computes in. */
  openMemory(graph: Handle): DeviceMemory {
    return new DeviceMemory(graph, this.#memory);
  }

  close(): void {
    // A later engine's arena may have taken its place: graphs keep the one that they were loaded with.
    if (this.#sharesArena) attempt("UnregisterAllocator", this.#env, this.#memory);
    call("ReleaseMemoryInfo", this.#memory);
  }

  #registerArena(): void {
    const NO_LIMIT = 0;
    const SAME_AS_REQUESTED = 1;
    const { memoryLimitBytes: limit } = this.#device;
    const settings: Record<string, number> = {
      max_mem: limit === undefined ? NO_LIMIT : Math.floor(limit),
      arena_extend_strategy: SAME_AS_REQUESTED, // or a weight of 1.2 GB would take 2
    };
    const sizes = BigUint64Array.from(Object.values(settings), BigInt);
    const names = Object.keys(settings);
    const arena = create("CreateArenaCfgV2", names, sizes, names.length);
    const { name } = PROVIDERS[this.#device.type];
    try {
      check("CreateAndRegisterAllocatorV2", this.#env, name, this.#memory, arena, null, null, 0);
    } catch (error) {
      call("ReleaseMemoryInfo", this.#memory);
      throw failure(`no memory pool on the ${this.#device.type} device`, error);
    } finally {
      call("ReleaseArenaCfg", arena);
    }
  }
}

/** Memory on the device that a graph runs on. Close it after its tensors. */
export class DeviceMemory {
  readonly #memory: Handle;
  readonly #allocator: Handle;

  constructor(graph: Handle, memory: Handle) {
    this.#memory = memory;
    this.#allocator = create("CreateAllocator", graph, memory);
  }

  /** An uninitialised tensor. Throws AllocationError. */
  allocate(type: ElementType, dims: readonly number[]): Tensor {
    const shape = [...nativeDims(dims), ELEMENT_CODES[type]];
    const handle = create("CreateTensorAsOrtValue", this.#allocator, ...shape);
    return new Tensor({ type, dims }, handle, () => call("ReleaseValue", handle));
  }

  /** The elements of a tensor of `allocate` from `at` on, as a tensor over the same memory; it must not outlive it. */
  view(whole: Tensor, at: number, dims: readonly number[]): Tensor {
    const { type } = whole;
    const size = sizeOf(dims);
    if (at < 0 || at + size > sizeOf(whole.dims))
      throw new EngineError("engine_failure", `${size} elements at ${at} of ${describe(whole)}`);
    const bytes = ELEMENT_BYTES[type];
    const address = create("GetTensorMutableData", whole.handle) + BigInt(at * bytes);
    const shape = [...nativeDims(dims), ELEMENT_CODES[type]];
    const data = [address, size * bytes];
    const handle = create("CreateTensorWithDataAsOrtValue", this.#memory, ...data, ...shape);
    return new Tensor({ type, dims }, handle, () => call("ReleaseValue", handle));
  }

  close(): void {
    call("ReleaseAllocator", this.#allocator);
  }
}

function idOf(device: Device): number {
  return device.type === "cuda" ? (device.id ?? 0) : 0;
}

/** The first call that reads the provider's options loads its library, so it says what is missing. */
function requireCuda(id: number): void {
  try {
    withCudaOptions(id, () => undefined);
  } catch (error) {
    const cause = error instanceof EngineError ? error.cause : error;
    const missing = MISSING_LIBRARY.exec(String(cause))?.[1];
    const what = missing ? `${missing} cannot be loaded` : `there is no usable device ${id}`;
    throw failure(`CUDA cannot be used: ${what}; docs/gpu.md says what to install`, error);
  }
}

function withCudaOptions(id: number, use: (cuda: Handle) => void): void {
  const settings = {
    device_id: String(id),
    use_tf32: "0", // ten bits of mantissa are no float32
  };
  const [names, values] = [Object.keys(settings), Object.values(settings)];
  const cuda = create("CreateCUDAProviderOptions");
  try {
    check("UpdateCUDAProviderOptions", cuda, names, values, names.length);
    use(cuda);
  } finally {
    call("ReleaseCUDAProviderOptions", cuda);
  }
}

function failure(message: string, error: unknown): EngineError {
  const cause = error instanceof EngineError ? error.cause : error;
  return new EngineError("engine_failure", message, { cause });
}
