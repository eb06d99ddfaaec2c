/** The messages of onnx.proto that a model file needs, by field number. Knows the format, nothing of any model. */
import { bytes, concat, float, int } from "./protobuf.ts";

/** TensorProto.DataType */
export const DATA_TYPES = { float32: 1, uint8: 2, int32: 6, int64: 7, float16: 10 } as const;
export type DataType = keyof typeof DATA_TYPES;

/** AttributeProto.AttributeType */
const ATTRIBUTE_TYPES = { float: 1, int: 2, string: 3, ints: 7 } as const;

/** A number stands for an integer attribute; a float must say so. */
export type Attribute = number | string | readonly number[] | { float: number };

/** A fixed size, or the name of a free one. */
export type Dim = number | string;

export type Node = {
  op: string;
  domain: string;
  inputs: readonly string[];
  outputs: readonly string[];
  attributes: Record<string, Attribute>;
};
export type ValueInfo = { name: string; type: DataType; dims: readonly Dim[] };

/** A weight's place in the data file. */
export type ExternalData = { location: string; offset: number; length: number };

/** A constant: its data inline, or in a file beside the model. */
export type Initializer = {
  name: string;
  type: DataType;
  dims: readonly number[];
  data: Uint8Array | ExternalData;
};

export type Graph = {
  name: string;
  nodes: readonly Node[];
  initializers: readonly Initializer[];
  inputs: readonly ValueInfo[];
  outputs: readonly ValueInfo[];
};

/** A serialised ModelProto that uses the given operator sets: domain -> version. */
export function encodeModel(
  graph: Graph,
  irVersion: number,
  opsets: Record<string, number>,
): Uint8Array {
  return concat([
    int(1, irVersion),
    bytes(2, "glimpse"),
    bytes(7, encodeGraph(graph)),
    ...Object.entries(opsets).map(([domain, version]) =>
      bytes(8, concat([bytes(1, domain), int(2, version)])),
    ),
  ]);
}

function encodeGraph(graph: Graph): Uint8Array {
  return concat([
    ...graph.nodes.map((node) => bytes(1, encodeNode(node))),
    bytes(2, graph.name),
    ...graph.initializers.map((tensor) => bytes(5, encodeTensor(tensor))),
    ...graph.inputs.map((value) => bytes(11, encodeValueInfo(value))),
    ...graph.outputs.map((value) => bytes(12, encodeValueInfo(value))),
  ]);
}

function encodeNode(node: Node): Uint8Array {
  return concat([
    ...node.inputs.map((name) => bytes(1, name)),
    ...node.outputs.map((name) => bytes(2, name)),
    bytes(3, `${node.op}:${node.outputs[0]}`),
    bytes(4, node.op),
    ...Object.entries(node.attributes).map(([name, value]) =>
      bytes(5, encodeAttribute(name, value)),
    ),
    bytes(7, node.domain),
  ]);
}

function encodeAttribute(name: string, value: Attribute): Uint8Array {
  const [type, ...body] = (() => {
    if (typeof value === "number") return ["int", int(3, value)] as const;
    if (typeof value === "string") return ["string", bytes(4, value)] as const;
    if ("float" in value) return ["float", float(2, value.float)] as const;
    return ["ints", ...value.map((element) => int(8, element))] as const;
  })();
  return concat([bytes(1, name), ...body, int(20, ATTRIBUTE_TYPES[type])]);
}

function encodeTensor({ name, type, dims, data }: Initializer): Uint8Array {
  const EXTERNAL = 1; // TensorProto.DataLocation
  const entry = (key: string, value: string | number) =>
    bytes(13, concat([bytes(1, key), bytes(2, String(value))]));
  return concat([
    ...dims.map((dim) => int(1, dim)),
    int(2, DATA_TYPES[type]),
    bytes(8, name),
    ...(data instanceof Uint8Array
      ? [bytes(9, data)]
      : [
          entry("location", data.location),
          entry("offset", data.offset),
          entry("length", data.length),
          int(14, EXTERNAL),
        ]),
  ]);
}

function encodeValueInfo({ name, type, dims }: ValueInfo): Uint8Array {
  const shape = concat(
    dims.map((dim) => bytes(1, typeof dim === "number" ? int(1, dim) : bytes(2, dim))),
  );
  const tensorType = concat([int(1, DATA_TYPES[type]), bytes(2, shape)]);
  return concat([bytes(1, name), bytes(2, bytes(1, tensorType))]);
}
