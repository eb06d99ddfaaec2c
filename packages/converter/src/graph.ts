/** Builds an ONNX graph so that its callers read like the mathematics. Knows operators, no model. */
import { BITS, blockOf, type Encoding } from "./encoding.ts";
import {
  type Attribute,
  type DataType,
  DATA_TYPES,
  type Dim,
  encodeModel,
  type ExternalData,
  type Initializer,
  type Node,
  type ValueInfo,
} from "./onnx.ts";
import type { Place, WeightPart } from "./weights.ts";

/** The name of a tensor that flows through a graph. */
export type Value = string;

/** Says where the parts' rows, one part after the other, will be. */
export type FindWeight = (parts: readonly WeightPart[], encoding: Encoding) => Place;

/** What flows through a graph, and how its matrices are stored. */
export type Precision = { float: "float32" | "float16"; matrices: Encoding };

const IR_VERSION = 10;
const ONNX = "";
const CONTRIB = "com.microsoft";
const OPSETS = { [ONNX]: 21, [CONTRIB]: 1 };
/** Quantised products go through 8-bit integers: the fast way on processors, and the only fast one for 8 bits. */
const INTEGER_ACCURACY = 4;

export class GraphBuilder {
  /** The type of weights and of what is computed from them. */
  readonly float: Precision["float"];
  readonly #matrices: Encoding;
  readonly #name: string;
  readonly #findWeight: FindWeight;
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: ValueInfo[] = [];
  readonly #nodes: Node[] = [];
  readonly #initializers = new Map<string, Initializer>();

  constructor(name: string, findWeight: FindWeight, { float, matrices }: Precision) {
    this.#name = name;
    this.#findWeight = findWeight;
    this.float = float;
    this.#matrices = matrices;
  }

  input(name: string, type: DataType, dims: readonly Dim[]): Value {
    this.#inputs.push({ name, type, dims });
    return name;
  }

  /** An input that comes as float32 whatever the graph computes in. */
  floatInput(name: string, dims: readonly Dim[]): Value {
    return this.#convert(this.input(name, "float32", dims), "float32", this.float);
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

  /** A value of the graph's own type as float32. */
  toFloat32(value: Value): Value {
    return this.#convert(value, this.float, "float32");
  }

  /** A float32 or float16 weight of the checkpoint, seen as `dims` (the same elements in the same order). */
  weight(name: string, shape: readonly number[], dims: readonly number[] = shape): Value {
    return this.weights([{ name, shape, ...asRows(dims) }], dims);
  }

  /** Weights one after the other, seen as `dims`. */
  weights(
    parts: readonly WeightPart[],
    dims: readonly number[],
    type: "float32" | "float16" = this.float,
  ): Value {
    const name = parts.map((part) => part.name).join("+");
    const { data } = this.#findWeight(parts, type);
    this.#initializers.set(name, { name, type, dims, data });
    return name;
  }

  /** x W^T (+ b), W [out, in] being the parts' rows one after the other. */
  product(x: Value, parts: readonly WeightPart[], bias?: Value): Value {
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    const { width } = parts[0]!;
    const encoding = this.#matrices;
    if (encoding === "float32" || encoding === "float16") {
      const inputs = [x, this.weights(parts, [rows, width], encoding)];
      return this.op("Gemm", bias ? [...inputs, bias] : inputs, { transB: 1 });
    }
    const name = parts.map((part) => part.name).join("+");
    const { data, scales } = this.#findWeight(parts, encoding);
    const [bits, block] = [BITS[encoding], blockOf(width)];
    const blocks = Math.ceil(width / block);
    const codes = this.#initializer(
      `${name}.codes`,
      "uint8",
      [rows, blocks, (block * bits) / 8],
      data,
    );
    const scale = this.#initializer(`${name}.scales`, "float32", [rows, blocks], scales);
    const NONE = "";
    return this.contrib(
      "MatMulNBits",
      bias ? [x, codes, scale, NONE, NONE, bias] : [x, codes, scale],
      { K: width, N: rows, bits, block_size: block, accuracy_level: INTEGER_ACCURACY },
    );
  }

  /** The type in which a table is stored whose rows are looked up: quantised graphs halve it. */
  get tableType(): "float32" | "float16" {
    return this.#matrices === "float32" ? "float32" : "float16";
  }

  ints(...values: number[]): Value {
    return this.#integers(`ints:${values.join(",")}`, values, [values.length]);
  }

  scalar(value: number): Value {
    return this.#integers(`int:${value}`, [value], []);
  }

  zero(): Value {
    return this.#initializer("zero", "float32", [], new Uint8Array(4));
  }

  /** A number of the graph's own type. */
  number(value: number): Value {
    const data = this.float === "float32" ? Float32Array.of(value) : Float16Array.of(value);
    return this.#initializer(`number:${value}`, this.float, [], new Uint8Array(data.buffer));
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

  /** One of ONNX Runtime's own operators; outputs after the first may be named, or left out as "". */
  contrib(
    op: string,
    inputs: readonly Value[],
    attributes: Record<string, Attribute>,
    more: readonly Value[] = [],
  ): Value {
    return this.#node(CONTRIB, op, inputs, [...this.#fresh(1), ...more], attributes)[0]!;
  }

  /** A name for an output that a contrib operator gives besides its first. */
  another(): Value {
    return `${this.#nodes.length}.more`;
  }

  /** Declares an output that a contrib operator names itself. */
  declareOutput(name: string, type: DataType, dims: readonly Dim[]): Value {
    this.#outputs.push({ name, type, dims });
    return name;
  }

  /** A value of one type as another. */
  cast(value: Value, type: DataType): Value {
    return this.op("Cast", [value], { to: DATA_TYPES[type] });
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

  #convert(value: Value, from: DataType, to: DataType): Value {
    return from === to ? value : this.cast(value, to);
  }

  #integers(name: string, values: number[], dims: number[]): Value {
    const data = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    return this.#initializer(name, "int64", dims, data);
  }

  #initializer(
    name: string,
    type: DataType,
    dims: readonly number[],
    data: Uint8Array | ExternalData,
  ): Value {
    this.#initializers.set(name, { name, type, dims, data });
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

function asRows(dims: readonly number[]): { rows: number; width: number } {
  const size = dims.reduce((product, dim) => product * dim, 1);
  const width = dims.at(-1)!;
  return { rows: size / width, width };
}
