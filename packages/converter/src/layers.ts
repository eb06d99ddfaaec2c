/** What both towers are made of. Values are [tokens, width] matrices; weights are [out, in], as the checkpoint has them. */
import type { GraphBuilder, Value } from "./graph.ts";

/** x W^T (+ b). `name` is the module's; its weight may have more dimensions (a convolution over whole patches). */
export function linear(
  g: GraphBuilder,
  x: Value,
  name: string,
  [outSize, ...inShape]: readonly number[],
  { bias = false } = {},
): Value {
  const inSize = inShape.reduce((product, dim) => product * dim, 1);
  const weight = g.weight(`${name}.weight`, [outSize!, ...inShape], [outSize!, inSize]);
  const inputs = bias ? [x, weight, g.weight(`${name}.bias`, [outSize!])] : [x, weight];
  return g.op("Gemm", inputs, { transB: 1 });
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

/** silu(gate) * up, silu(x) = x sigmoid(x) (Shazeer, "GLU variants improve transformer", 2020). */
export function swiGlu(g: GraphBuilder, gate: Value, up: Value): Value {
  return g.op("Mul", [g.op("Mul", [gate, g.op("Sigmoid", [gate])]), up]);
}
