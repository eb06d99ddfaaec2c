/** The vision tower: patches of pictures of one grid to features, by transformers' Glm4vVisionModel. */
import { VISION_IO as IO } from "@glimpse/engine";
import type { VisionArchitecture } from "./config.ts";
import { type FindWeight, GraphBuilder, type Precision, type Value } from "./graph.ts";
import { linear, rmsNorm, swiGlu } from "./layers.ts";

const MERGER_NORM_EPS = 1e-5; // torch's LayerNorm default; no configuration key

/** @param prefix of the tower's tensors, such as "model.visual." */
export function visionGraph(
  vision: VisionArchitecture,
  prefix: string,
  findWeight: FindWeight,
  precision: Precision,
): Uint8Array {
  const withPrefix: FindWeight = (parts, encoding) =>
    findWeight(
      parts.map((part) => ({ ...part, name: prefix + part.name })),
      encoding,
    );
  const g = new GraphBuilder("vision", withPrefix, precision);
  const { hidden, eps, patch, tableSide, headDim, outHidden } = vision;
  const patchDim = patch.reduce((product, dim) => product * dim, 1);

  const pixels = g.floatInput(IO.pixels, ["batch", "patches", patchDim]);
  const rowWeights = g.floatInput(IO.rowWeights, ["rows", tableSide]);
  const columnWeights = g.floatInput(IO.columnWeights, ["columns", tableSide]);
  const cos = g.floatInput(IO.cos, ["patches", headDim / 2]);
  const sin = g.floatInput(IO.sin, ["patches", headDim / 2]);

  // A convolution over whole patches is a matrix product.
  const patches = g.op("Reshape", [pixels, g.ints(-1, patchDim)]);
  let x = linear(g, patches, "patch_embed.proj", [hidden, ...patch], { bias: true });
  x = rmsNorm(g, x, "post_conv_layernorm", hidden, eps);

  const batchShape = g.op(
    "Concat",
    [g.op("Shape", [pixels], { start: 0, end: 1 }), g.ints(-1, hidden)],
    { axis: 0 },
  );
  const batched = (value: Value) => g.op("Reshape", [value, batchShape]);
  const flat = (value: Value) => g.op("Reshape", [value, g.ints(-1, hidden)]);
  x = flat(g.op("Add", [batched(x), positions(g, vision, rowWeights, columnWeights)]));

  const rotate = (value: Value) =>
    g.contrib("RotaryEmbedding", [batched(value), g.ints(0), cos, sin], { interleaved: 0 });
  for (let i = 0; i < vision.depth; i++) {
    const block = `blocks.${i}`;
    const qkv = linear(
      g,
      rmsNorm(g, x, `${block}.norm1`, hidden, eps),
      `${block}.attn.qkv`,
      [3 * hidden, hidden],
      {
        bias: vision.attentionBias,
      },
    );
    const [query, key, value] = g.ops(3, "Split", [qkv], { axis: -1, num_outputs: 3 }) as [
      Value,
      Value,
      Value,
    ];
    const attention = g.contrib(
      "MultiHeadAttention",
      [rotate(query), rotate(key), batched(value)],
      {
        num_heads: vision.heads,
        scale: { float: headDim ** -0.5 },
      },
    );
    x = g.op("Add", [x, linear(g, flat(attention), `${block}.attn.proj`, [hidden, hidden])]);
    x = g.op("Add", [
      x,
      mlp(g, rmsNorm(g, x, `${block}.norm2`, hidden, eps), `${block}.mlp`, hidden, outHidden),
    ]);
  }
  x = rmsNorm(g, x, "post_layernorm", hidden, eps);

  g.output(IO.features, "float32", ["features", outHidden], g.toFloat32(merge(g, vision, x)));
  return g.encode();
}

/** The learned position table [side, side, hidden], resampled to the grid, in merge-block order: [patches, hidden]. */
function positions(
  g: GraphBuilder,
  vision: VisionArchitecture,
  rowWeights: Value,
  columnWeights: Value,
): Value {
  const { hidden, tableSide: side, merge } = vision;
  const table = g.weight(
    "embeddings.position_embedding.weight",
    [side ** 2, hidden],
    [side, side * hidden],
  );
  const alongRows = g.op("Reshape", [g.op("MatMul", [rowWeights, table]), g.ints(0, side, hidden)]);
  const grid = g.op("MatMul", [columnWeights, alongRows]); // [rows, columns, hidden]
  // [rows, columns] -> [row block, column block, row in block, column in block]; 0 keeps a size, -1 is the rest.
  const columnBlocks = g.op("Reshape", [grid, g.ints(0, -1, merge, hidden)]);
  const columnsFirst = g.op("Transpose", [columnBlocks], { perm: [1, 0, 2, 3] });
  const blocks = g.op("Reshape", [columnsFirst, g.ints(0, -1, merge, merge, hidden)]);
  return g.op("Reshape", [
    g.op("Transpose", [blocks], { perm: [1, 0, 2, 3, 4] }),
    g.ints(-1, hidden),
  ]);
}

/** Every merge x merge block of patches to one feature: a convolution over the block, then the merger. */
function merge(g: GraphBuilder, vision: VisionArchitecture, patches: Value): Value {
  const { hidden, outHidden, intermediate, merge: side } = vision;
  const blocks = g.op("Transpose", [g.op("Reshape", [patches, g.ints(-1, side ** 2, hidden)])], {
    perm: [0, 2, 1],
  });
  const rows = g.op("Reshape", [blocks, g.ints(-1, hidden * side ** 2)]);
  const x = linear(g, rows, "downsample", [outHidden, hidden, side, side], { bias: true });
  const projected = linear(g, x, "merger.proj", [outHidden, outHidden]);
  const norm = "merger.post_projection_norm";
  const normed = g.op(
    "LayerNormalization",
    [projected, g.weight(`${norm}.weight`, [outHidden]), g.weight(`${norm}.bias`, [outHidden])],
    { axis: -1, epsilon: { float: MERGER_NORM_EPS } },
  );
  return mlp(g, g.op("Gelu", [normed]), "merger", outHidden, intermediate);
}

function mlp(g: GraphBuilder, x: Value, name: string, width: number, inner: number): Value {
  const gate = linear(g, x, `${name}.gate_proj`, [inner, width]);
  const up = linear(g, x, `${name}.up_proj`, [inner, width]);
  return linear(g, swiGlu(g, gate, up), `${name}.down_proj`, [width, inner]);
}
