/** A loaded graph that checks what it is fed. Knows shapes; no pointers, no model. */
import { EngineError } from "./errors.ts";
import type { Runtime } from "./ort.ts";
import { describe, type Handle, type Tensor, type TensorSpec } from "./tensor.ts";

export type NamedTensors = Record<string, Tensor>;
type Specs = ReadonlyMap<string, TensorSpec>;

export class Session {
  readonly #name: string;
  readonly #runtime: Runtime;
  readonly #graph: Handle;
  readonly #inputs: Specs;
  readonly #outputs: Specs;

  /** Loads the graph at `path`; `name` names it in errors. Throws EngineError `engine_failure`. */
  static async load(
    runtime: Runtime,
    name: string,
    path: string,
    threads: number,
  ): Promise<Session> {
    const graph = await runtime.loadGraph(path, threads).catch((error: unknown) => {
      throw failure(`the ${name} graph cannot be loaded`, error);
    });
    return new Session(runtime, name, graph);
  }

  private constructor(runtime: Runtime, name: string, graph: Handle) {
    this.#runtime = runtime;
    this.#name = name;
    this.#graph = graph;
    this.#inputs = runtime.specs(graph, "Input");
    this.#outputs = runtime.specs(graph, "Output");
  }

  /**
   * Runs the graph off the event loop; outputs are written into the given tensors. One tensor may be input and output
   * at once, where an operator works in place. Tensors must stay open until this settles.
   * Throws EngineError `engine_failure` with names, types and dimensions, never data.
   */
  async run(inputs: NamedTensors, outputs: NamedTensors): Promise<void> {
    const problems = [...mismatches(inputs, this.#inputs), ...mismatches(outputs, this.#outputs)];
    if (problems.length > 0) {
      throw new EngineError("engine_failure", `the ${this.#name} graph: ${problems.join("; ")}`);
    }
    try {
      await this.#runtime.run(this.#graph, inputs, outputs);
    } catch (error) {
      const shapes = Object.entries(inputs).map(([name, tensor]) => `${name} ${describe(tensor)}`);
      throw failure(`the ${this.#name} graph failed on ${shapes.join(", ")}`, error);
    }
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
  return new EngineError("engine_failure", message, { cause });
}
