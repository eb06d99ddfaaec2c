/** A loaded graph that checks what it is fed. Knows shapes; no pointers, no model. */
import { AllocationError, EngineError } from "./errors.ts";
import { pinHandles, type Pinned, pinStrings, type Runtime } from "./ort.ts";
import type { DeviceMemory } from "./ort-device.ts";
import { describe, type Handle, type Tensor, type TensorSpec } from "./tensor.ts";

export type NamedTensors = Record<string, Tensor>;
type Specs = ReadonlyMap<string, TensorSpec>;

/** A run whose tensors are in place: checked once, run as often as one likes. Tensors must stay open meanwhile. */
export type Binding = {
  /** Throws EngineError `engine_failure`, or AllocationError, with names, types and dimensions, never data. */
  run(): Promise<void>;
};

export class Session {
  readonly #name: string;
  readonly #runtime: Runtime;
  readonly #graph: Handle;
  readonly #inputs: Specs;
  readonly #outputs: Specs;
  readonly #inputNames: Pinned;
  readonly #outputNames: Pinned;

  /** Loads the graph at `path`; `name` names it in errors. Throws EngineError `engine_failure`. */
  static async load(
    runtime: Runtime,
    name: string,
    path: string,
    threads: number,
  ): Promise<Session> {
    const graph = await runtime.loadGraph(path, threads).catch((error: unknown) => {
      const why =
        error instanceof AllocationError ? "does not fit into memory" : "cannot be loaded";
      throw failure(`the ${name} graph ${why}`, error);
    });
    return new Session(runtime, name, graph);
  }

  private constructor(runtime: Runtime, name: string, graph: Handle) {
    this.#runtime = runtime;
    this.#name = name;
    this.#graph = graph;
    this.#inputs = runtime.specs(graph, "Input");
    this.#outputs = runtime.specs(graph, "Output");
    this.#inputNames = pinStrings([...this.#inputs.keys()]);
    this.#outputNames = pinStrings([...this.#outputs.keys()]);
  }

  /**
   * Binds tensors to all inputs and outputs. A run writes outputs into the given tensors, off the event loop; one
   * tensor may be input and output at once, where an operator works in place.
   * Throws EngineError `engine_failure` with names, types and dimensions, never data.
   */
  bind(inputs: NamedTensors, outputs: NamedTensors): Binding {
    const problems = [...mismatches(inputs, this.#inputs), ...mismatches(outputs, this.#outputs)];
    if (problems.length > 0) {
      throw new EngineError("engine_failure", `the ${this.#name} graph: ${problems.join("; ")}`);
    }
    const handles = (specs: Specs, tensors: NamedTensors) =>
      pinHandles(Array.from(specs.keys(), (name) => tensors[name]!.handle));
    const given = handles(this.#inputs, inputs);
    const wanted = handles(this.#outputs, outputs);
    return { run: () => this.#run(given, wanted, inputs) };
  }

  async #run(given: Pinned, wanted: Pinned, inputs: NamedTensors): Promise<void> {
    try {
      await this.#runtime.run(
        this.#graph,
        this.#inputNames,
        given,
        this.#inputs.size,
        this.#outputNames,
        wanted,
        this.#outputs.size,
      );
    } catch (error) {
      const shapes = Object.entries(inputs).map(([name, tensor]) => `${name} ${describe(tensor)}`);
      throw failure(`the ${this.#name} graph failed on ${shapes.join(", ")}`, error);
    }
  }

  /** The memory on the device that this graph computes in. */
  openMemory(): DeviceMemory {
    return this.#runtime.openMemory(this.#graph);
  }

  /** Only once no call runs. */
  close(): void {
    this.#runtime.releaseGraph(this.#graph);
  }
}

function mismatches(given: NamedTensors, declared: Specs): string[] {
  const missing = declared.keys().filter((name) => !(name in given));
  const wrong = Object.entries(given).flatMap(([name, tensor]) => {
    const spec = declared.get(name);
    if (!spec) return [`${name} is unknown`];
    return fits(tensor, spec) ? [] : [`${name} is ${describe(tensor)}, not ${describe(spec)}`];
  });
  return [...missing.map((name) => `${name} is missing`), ...wrong];
}

function fits({ type, dims }: TensorSpec, spec: TensorSpec): boolean {
  const free = -1;
  return (
    type === spec.type &&
    dims.length === spec.dims.length &&
    dims.every((size, i) => spec.dims[i] === free || spec.dims[i] === size)
  );
}

/** Our words, with the runtime's own as the cause. */
function failure(message: string, error: unknown): EngineError {
  const cause = error instanceof EngineError ? error.cause : error;
  if (error instanceof AllocationError) return new AllocationError(message, { cause });
  return new EngineError("engine_failure", message, { cause });
}
