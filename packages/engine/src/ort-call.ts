/** Calls into ONNX Runtime: statuses become errors, out-parameters results. Only ort.ts and ort-device.ts use this. */
import { AllocationError, EngineError } from "./errors.ts";
import { type FunctionName, ortFunctions } from "./ort-api.ts";
import type { Handle } from "./tensor.ts";

/** How the runtime says that there is no memory: its arena (empty, at its limit), C++, CUDA, cuBLAS. It has no status code for it. */
const OUT_OF_MEMORY =
  /failed to allocate memory|is smaller than requested bytes|bad_alloc|out of memory|ALLOC_FAILED/i;

/** Calls a function that gives no status. */
export function call(name: FunctionName, ...args: unknown[]): void {
  ortFunctions()[name](...args);
}

/** Throws EngineError `engine_failure`, or AllocationError, unless the function succeeds. */
export function check(name: FunctionName, ...args: unknown[]): void {
  throwUnlessOk(name, ortFunctions()[name](...args));
}

/** As `check`, where a refusal means that there was nothing to do. */
export function attempt(name: FunctionName, ...args: unknown[]): void {
  const status = ortFunctions()[name](...args);
  if (status !== null) call("ReleaseStatus", status);
}

/** As `check`, on another thread: the event loop goes on. */
export async function checkAsync(name: FunctionName, ...args: unknown[]): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  ortFunctions()[name].async(...args, (error: Error | null, status: unknown) =>
    error ? reject(error) : resolve(status),
  );
  throwUnlessOk(name, await promise);
}

/** Calls a function whose last parameter receives a handle. */
export function create(name: FunctionName, ...args: unknown[]): Handle {
  const out: [Handle | null] = [null];
  check(name, ...args, out);
  return out[0]!;
}

/** Calls a function whose last parameter receives a number. */
export function number(name: FunctionName, ...args: unknown[]): number {
  const out: [number | bigint] = [0];
  check(name, ...args, out);
  return Number(out[0]);
}

/** The runtime's own words stay in the cause: they are for a log, not for a user. */
function throwUnlessOk(name: FunctionName, status: unknown): void {
  if (status === null) return;
  const cause = new Error(String(ortFunctions().GetErrorMessage(status)));
  call("ReleaseStatus", status);
  if (OUT_OF_MEMORY.test(cause.message))
    throw new AllocationError(`no memory for ONNX Runtime's ${name}`, { cause });
  throw new EngineError("engine_failure", `ONNX Runtime failed in ${name}`, { cause });
}
