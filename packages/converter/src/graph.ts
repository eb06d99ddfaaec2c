/** Builds an ONNX graph so that its callers read like the mathematics. Knows operators, no model. */
import {
  type Attribute,
  type DataType,
  type Dim,
  encodeModel,
  type ExternalData,
  type Initializer,
  type Node,
  type ValueInfo,
} from "./onnx.ts";

/** The name of a tensor that flows through a graph. */
export type Value = string;

/** Finds a weight of this shape and says where its float32 data will be. */
export type FindWeight = (name: string, shape: readonly number[]) => ExternalData;

const IR_VERSION = 10;
const ONNX = "";
const CONTRIB = "com.microsoft";
const OPSETS = { [ONNX]: 21, [CONTRIB]: 1 };

export class GraphBuilder {
  readonly #name: string;
  readonly #findWeight: FindWeight;
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: ValueInfo[] = [];
  readonly #nodes: Node[] = [];
  readonly #initializers = new Map<string, Initializer>();

  constructor(name: string, findWeight: FindWeight) {
    this.#name = name;
    this.#findWeight = findWeight;
  }

  input(name: string, type: DataType, dims: readonly Dim[]): Value {
    this.#inputs.push({ name, type, dims });
    return name;
  }

  /** Gives a value the name of an output. */
  output(name: string, type: DataType, dims: readonly Dim[], value: Value): void {
    this.#nodes.push({
      op: "Identity",
      domain: ONNX,
      inputs: [value],
      outputs: [name],
      attributes: {},
    });
    this.#outputs.push({ name, type, dims });
  }

  /** A weight of the checkpoint, seen as `dims` (the same elements in the same order). */
  weight(name: string, shape: readonly number[], dims: readonly number[] = shape): Value {
    this.#initializers.set(name, {
      name,
      type: "float32",
      dims,
      data: this.#findWeight(name, shape),
    });
    return name;
  }

  ints(...values: number[]): Value {
    return this.#constant(`ints:${values.join(",")}`, values, [values.length]);
  }

  scalar(value: number): Value {
    return this.#constant(`int:${value}`, [value], []);
  }

  /** A standard operator with one output. */
  op(op: string, inputs: readonly Value[], attributes: Record<string, Attribute> = {}): Value {
    return this.ops(1, op, inputs, attributes)[0]!;
  }

  /** A standard operator with several outputs. */
  ops(
    count: number,
    op: string,
    inputs: readonly Value[],
    attributes: Record<string, Attribute> = {},
  ): Value[] {
    return this.#node(ONNX, op, inputs, this.#fresh(count), attributes);
  }

  /** One of ONNX Runtime's own operators; outputs after the first may be named. */
  contrib(
    op: string,
    inputs: readonly Value[],
    attributes: Record<string, Attribute>,
    more: readonly Value[] = [],
  ): Value {
    return this.#node(CONTRIB, op, inputs, [...this.#fresh(1), ...more], attributes)[0]!;
  }

  /** Declares an output that a contrib operator names itself. */
  declareOutput(name: string, type: DataType, dims: readonly Dim[]): Value {
    this.#outputs.push({ name, type, dims });
    return name;
  }

  encode(): Uint8Array {
    return encodeModel(
      {
        name: this.#name,
        nodes: this.#nodes,
        initializers: [...this.#initializers.values()],
        inputs: this.#inputs,
        outputs: this.#outputs,
      },
      IR_VERSION,
      OPSETS,
    );
  }

  #constant(name: string, values: number[], dims: number[]): Value {
    const data = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    this.#initializers.set(name, { name, type: "int64", dims, data });
    return name;
  }

  #node(
    domain: string,
    op: string,
    inputs: readonly Value[],
    outputs: Value[],
    attributes: Record<string, Attribute>,
  ): Value[] {
    this.#nodes.push({ op, domain, inputs, outputs, attributes });
    return outputs;
  }

  #fresh(count: number): Value[] {
    return Array.from({ length: count }, (_, i) => `${this.#nodes.length}.${i}`);
  }
}
