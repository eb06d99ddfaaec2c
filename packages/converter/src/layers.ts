/** What both towers are made of. Values are [tokens, width] matrices; weights are [out, in], as the checkpoint has them. */
import type { GraphBuilder, Value } from "./graph.ts";
import type { WeightPart } from "./weights.ts";

/** x W^T (+ b). `name` is the module's; its weight may have more dimensions (a convolution over whole patches). */
export function linear(
  g: GraphBuilder,
  x: Value,
  name: string,
  shape: readonly number[],
  { bias = false } = {},
): Value {
  const part = matrix(`${name}.weight`, shape);
  return g.product(x, [part], bias ? g.weight(`${name}.bias`, [part.rows]) : undefined);
}

/** A weight [out, in...] as a matrix [out, in]. */
export function matrix(name: string, shape: readonly number[]): WeightPart {
  const [rows, ...inShape] = shape;
  return { name, shape, rows: rows!, width: inShape.reduce((product, dim) => product * dim, 1) };
}

/** x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich, 2019). */
export function rmsNorm(
  g: GraphBuilder,
  x: Value,
  name: string,
  width: number,
  eps: number,
): Value {
  const weight = g.weight(`${name}.weight`, [width]);
  return g.op("SimplifiedLayerNormalization", [x, weight], { axis: -1, epsilon: { float: eps } });
}

/** The residual stream and what is added to it: their sum, and its norm. */
export function addNorm(
  g: GraphBuilder,
  x: Value,
  added: Value,
  name: string,
  width: number,
  eps: number,
): { sum: Value; normed: Value } {
  const weight = g.weight(`${name}.weight`, [width]);
  const sum = g.another();
  const NONE = "";
  const normed = g.contrib(
    "SkipSimplifiedLayerNormalization",
    [x, added, weight],
    { epsilon: { float: eps } },
    [NONE, NONE, sum],
  );
  return { sum, normed };
}

/** silu(gate) * up, silu(x) = x sigmoid(x) (Shazeer, "GLU variants improve transformer", 2020). */
export function swiGlu(g: GraphBuilder, gate: Value, up: Value): Value {
  return g.op("Mul", [g.op("Mul", [gate, g.op("Sigmoid", [gate])]), up]);
}
