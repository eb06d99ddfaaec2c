/**
 * The functions of ONNX Runtime's C API that we call, by FFI over the library that onnxruntime-node ships: that
 * package's own session API runs on the event loop and copies every output, so a KV cache too. Only ort-call.ts uses this.
 */
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import koffi, { type LibraryHandle } from "koffi";
import { EngineError } from "./errors.ts";
import type { Handle } from "./tensor.ts";

type NativeFunction = ReturnType<LibraryHandle["func"]>;

const API_VERSION = 24;
const TABLE_LENGTH = 260;

/** Slot in the OrtApi table and C signature. Slots are append-only across versions (onnxruntime_c_api.h). */
const FUNCTIONS = {
  GetErrorMessage: [2, "str (void *status)"],
  CreateEnv: [3, "void * (int level, str id, _Out_ void **env)"],
  CreateSession: [7, "void * (void *env, str path, void *options, _Out_ void **session)"],
  // Arrays are given by address: koffi would make them anew at every step.
  Run: [
    9,
    `void * (void *session, void *options, void *names, void *values, size_t count,
             void *outNames, size_t outCount, void *outValues)`,
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
  GetTensorMutableData: [51, "void * (void *value, _Out_ void **data)"],
  CastTypeInfoToTensorInfo: [55, "void * (void *info, _Out_ void **tensorInfo)"],
  GetTensorElementType: [60, "void * (void *tensorInfo, _Out_ int *type)"],
  GetDimensionsCount: [61, "void * (void *tensorInfo, _Out_ size_t *rank)"],
  GetDimensions: [62, "void * (void *tensorInfo, _Out_ int64_t *dims, size_t rank)"],
  CreateMemoryInfo: [68, "void * (str name, int allocator, int id, int memory, _Out_ void **info)"],
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
  AddSessionConfigEntry: [130, "void * (void *options, str key, str value)"],
  CreateAllocator: [131, "void * (void *session, void *memory, _Out_ void **allocator)"],
  ReleaseAllocator: [132, "void (void *allocator)"],
  ReleaseArenaCfg: [157, "void (void *arena)"],
  CreateArenaCfgV2: [
    164,
    "void * (const char **names, size_t *values, size_t count, _Out_ void **arena)",
  ],
  UnregisterAllocator: [177, "void * (void *env, void *memory)"],
  SessionOptionsAppendExecutionProvider_CUDA_V2: [204, "void * (void *options, void *cuda)"],
  CreateCUDAProviderOptions: [205, "void * (_Out_ void **cuda)"],
  UpdateCUDAProviderOptions: [
    206,
    "void * (void *cuda, const char **names, const char **values, size_t count)",
  ],
  ReleaseCUDAProviderOptions: [208, "void (void *cuda)"],
  CreateAndRegisterAllocatorV2: [
    259,
    `void * (void *env, str provider, void *memory, void *arena,
             const char **names, const char **values, size_t count)`,
  ],
} as const;
export type FunctionName = keyof typeof FUNCTIONS;
export type Functions = Record<FunctionName, NativeFunction>;

/** `handle` is held for as long as the functions: koffi unloads a library whose handle is collected. */
type Library = { handle: LibraryHandle; functions: Functions };
let library: Library | undefined;

/** Opens the library at the first call. Throws EngineError `engine_failure` where there is none. */
export function ortFunctions(): Functions {
  library ??= openLibrary();
  return library.functions;
}

function openLibrary(): Library {
  try {
    // Since 1.29 the library reports its use over the network, reading the command line for it (a long one crashes it).
    process.env["ORT_DISABLE_TELEMETRY"] = "1"; // oxlint-disable-line node/no-process-env -- its only switch
    // On processors, attention by plain products is faster than by its own tiled kernel, from two rows up by a third (1.30).
    process.env["ORT_GQA_DISABLE_FLASH_ATTENTION"] ??= "1"; // oxlint-disable-line node/no-process-env -- its only switch
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
