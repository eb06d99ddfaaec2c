/** The language model in one graph: token ids to the best candidates for the next token, by transformers' Glm4vTextModel. */
import { DECODER_IO as IO } from "@glimpse/engine";
import type { TextArchitecture } from "./config.ts";
import { type FindWeight, GraphBuilder, type Precision, type Value } from "./graph.ts";
import { addNorm, linear, matrix, rmsNorm, swiGlu } from "./layers.ts";
import type { WeightPart } from "./weights.ts";

const EMBEDDINGS = "embed_tokens.weight";
const HEAD = "lm_head.weight";

/** @param prefix of the text model's tensors, such as "model.language_model."; the output head has none */
export function decoderGraph(
  text: TextArchitecture,
  prefix: string,
  findWeight: FindWeight,
  precision: Precision,
): Uint8Array {
  const { hidden, vocab, eps } = text;
  const g = new GraphBuilder("decoder", findWeight, precision);
  const layerOf = (index: number) => `${prefix}layers.${index}`;
  let x = embed(g, text, prefix);
  const rows = g.input(IO.rows, "int32", ["rows"]);
  const step = describeStep(g, text);

  let normed = rmsNorm(g, x, `${layerOf(0)}.input_layernorm`, hidden, eps);
  for (let i = 0; i < text.layers; i++) {
    const layer = layerOf(i);
    const isLast = i === text.layers - 1;
    const nextNorm = isLast ? `${prefix}norm` : `${layerOf(i + 1)}.input_layernorm`;
    let mixed = attend(g, text, i, normed, layer, step);
    if (isLast) {
      // From here on no token sees another: only those whose successor is wanted go on.
      x = g.op("Gather", [x, rows]);
      mixed = g.op("Gather", [mixed, rows]);
    }
    const output = g.product(mixed, [outputProjection(text, layer)]);
    const attention = rmsNorm(g, output, `${layer}.post_self_attn_layernorm`, hidden, eps);
    const middle = addNorm(g, x, attention, `${layer}.post_attention_layernorm`, hidden, eps);
    const inner = mlp(g, text, layer, middle.normed);
    const added = rmsNorm(g, inner, `${layer}.post_mlp_layernorm`, hidden, eps);
    const end = addNorm(g, middle.sum, added, nextNorm, hidden, eps);
    [x, normed] = [end.sum, end.normed];
  }

  const head = matrix(text.tied ? prefix + EMBEDDINGS : HEAD, [vocab, hidden]);
  pickCandidates(g, penalise(g, g.toFloat32(g.product(normed, [head]))));
  return g.encode();
}

/** Heads in the cache are padded with zeros to what the attention kernel takes: multiples of 8. */
export function cacheDim({ headDim }: TextArchitecture): number {
  return 8 * Math.ceil(headDim / 8);
}

/** Token ids to [tokens, hidden], some of them replaced by picture features. */
function embed(g: GraphBuilder, text: TextArchitecture, prefix: string): Value {
  const { vocab, hidden } = text;
  const ids = g.input(IO.ids, "int32", ["tokens"]);
  const features = g.floatInput(IO.features, ["replaced", hidden]);
  const index = g.input(IO.featureIndex, "int32", ["replaced"]);
  const part = matrix(prefix + EMBEDDINGS, [vocab, hidden]);
  const table = g.weights([part], [vocab, hidden], g.tableType);
  const found = g.op("Gather", [table, ids]);
  const embeddings = g.tableType === g.float ? found : g.cast(found, g.float);
  const places = g.op("Unsqueeze", [g.cast(index, "int64"), g.ints(-1)]);
  return g.op("ScatterND", [embeddings, places, features]);
}

/** What changes from call to call: the tokens' rotation, and how long the sequences are. */
type Step = {
  cos: Value;
  sin: Value;
  /** Each token's row of cos and sin: [batch, sequence] */
  rotationIndex: Value;
  lastIndex: Value;
  totalLength: Value;
  /** [batch, -1, width of queries, keys and values] */
  projectionShape: Value;
};

function describeStep(g: GraphBuilder, text: TextArchitecture): Step {
  const frequencies = Math.ceil(text.rope.dim / 2);
  const lastIndex = g.input(IO.lastIndex, "int32", ["batch"]);
  const batch = g.op("Shape", [lastIndex]);
  const shaped = (...dims: number[]) => g.op("Concat", [batch, g.ints(...dims)], { axis: 0 });
  const tokens = g.op("Range", [g.scalar(0), g.op("Size", [IO.ids]), g.scalar(1)]);
  return {
    cos: g.floatInput(IO.cos, ["tokens", frequencies]),
    sin: g.floatInput(IO.sin, ["tokens", frequencies]),
    rotationIndex: g.op("Reshape", [tokens, shaped(-1)]),
    lastIndex,
    totalLength: g.input(IO.totalLength, "int32", []),
    projectionShape: shaped(-1, (text.heads + 2 * text.kvHeads) * cacheDim(text)),
  };
}

/** Causal grouped-query attention over the cache, which it appends to in place: [tokens, heads * cacheDim]. */
function attend(
  g: GraphBuilder,
  text: TextArchitecture,
  index: number,
  x: Value,
  layer: string,
  step: Step,
): Value {
  const { heads, kvHeads, headDim } = text;
  const width = cacheDim(text);
  const { weights, biases } = projections(text, layer);
  const bias = g.weights(biases, [(heads + 2 * kvHeads) * width]);
  const projected = g.op("Reshape", [g.product(x, weights, bias), step.projectionShape]);
  const sizes = g.ints(heads * width, kvHeads * width, kvHeads * width);
  const [query, key, value] = g.ops(3, "Split", [projected, sizes], { axis: -1 }) as [
    Value,
    Value,
    Value,
  ];
  const cacheDims = ["batch", kvHeads, "capacity", width];
  const attention = g.contrib(
    "GroupQueryAttention",
    [
      g.op("Mul", [rotate(g, text, query, heads, step), g.number(headDim ** -0.5)]),
      rotate(g, text, key, kvHeads, step),
      value,
      g.input(IO.pastKey(index), g.float, cacheDims),
      g.input(IO.pastValue(index), g.float, cacheDims),
      step.lastIndex,
      step.totalLength,
    ],
    { num_heads: heads, kv_num_heads: kvHeads, scale: { float: 1 } },
    [
      g.declareOutput(IO.presentKey(index), g.float, cacheDims),
      g.declareOutput(IO.presentValue(index), g.float, cacheDims),
    ],
  );
  return g.op("Reshape", [attention, g.ints(-1, heads * width)]);
}

/** The projections to queries, keys and values, one under the other, heads padded to the cache's. */
function projections(
  text: TextArchitecture,
  layer: string,
): { weights: WeightPart[]; biases: WeightPart[] } {
  const { hidden, heads, kvHeads, headDim } = text;
  const to = cacheDim(text);
  const named = [
    ["q_proj", heads],
    ["k_proj", kvHeads],
    ["v_proj", kvHeads],
  ] as const;
  return {
    weights: named.map(([name, count]) => ({
      name: `${layer}.self_attn.${name}.weight`,
      shape: [count * headDim, hidden],
      rows: count * to,
      width: hidden,
      widening: { from: headDim * hidden, to: to * hidden },
    })),
    biases: named.map(([name, count]) => ({
      name: `${layer}.self_attn.${name}.bias`,
      shape: [count * headDim],
      rows: count,
      width: to,
      widening: { from: headDim, to },
    })),
  };
}

function outputProjection(text: TextArchitecture, layer: string): WeightPart {
  const { hidden, heads, headDim } = text;
  const to = cacheDim(text);
  return {
    name: `${layer}.self_attn.o_proj.weight`,
    shape: [hidden, heads * headDim],
    rows: hidden,
    width: heads * to,
    widening: { from: headDim, to },
  };
}

/** Rotates neighbours (2i, 2i + 1) of each head's first elements; the rest passes through. */
function rotate(
  g: GraphBuilder,
  text: TextArchitecture,
  x: Value,
  count: number,
  { rotationIndex, cos, sin }: Step,
): Value {
  return g.contrib("RotaryEmbedding", [x, rotationIndex, cos, sin], {
    interleaved: 1,
    num_heads: count,
    rotary_embedding_dim: 2 * Math.ceil(text.rope.dim / 2),
  });
}

function mlp(g: GraphBuilder, text: TextArchitecture, layer: string, x: Value): Value {
  const { hidden, intermediate } = text;
  const gateUp = linear(g, x, `${layer}.mlp.gate_up_proj`, [2 * intermediate, hidden]);
  const [gate, up] = g.ops(2, "Split", [gateUp], { axis: -1, num_outputs: 2 }) as [Value, Value];
  return linear(g, swiGlu(g, gate, up), `${layer}.mlp.down_proj`, [hidden, intermediate]);
}

/** The repetition penalty as in transformers: a seen token's score moves away from the positive side. */
function penalise(g: GraphBuilder, logits: Value): Value {
  const seen = g.input(IO.seen, "int32", ["rows", "seen"]);
  const factor = g.input(IO.penalty, "float32", ["rows", 1]);
  const axis = { axis: 1 };
  const scores = g.op("GatherElements", [logits, seen], axis);
  const penalised = g.op("Where", [
    g.op("Less", [scores, g.zero()]),
    g.op("Mul", [scores, factor]),
    g.op("Div", [scores, factor]),
  ]);
  return g.op("ScatterElements", [logits, seen, penalised], axis);
}

/** The k best of each row, and what makes their scores log-probabilities. */
function pickCandidates(g: GraphBuilder, scores: Value): void {
  const k = g.input(IO.k, "int64", [1]);
  const [best, ids] = g.ops(2, "TopK", [scores, k], { axis: -1 }) as [Value, Value];
  const sum =
    g.float === "float16"
      ? logSumExp(g, scores, best)
      : g.op("ReduceLogSumExp", [scores, g.ints(-1)], { keepdims: 0 });
  g.output(IO.candidateLogits, "float32", ["rows", "k"], best);
  g.output(IO.candidateIds, "int32", ["rows", "k"], g.cast(ids, "int32"));
  g.output(IO.logSumExp, "float32", ["rows"], sum);
}

/**
 * log(sum(exp(scores))) of each row, [rows]; `best` is sorted. For cards, where ReduceLogSumExp is left to cuDNN, which
 * by all signs is slow with more than one row (docs/gpu.md).
 */
function logSumExp(g: GraphBuilder, scores: Value, best: Value): Value {
  const most = g.op("Gather", [best, g.ints(0)], { axis: 1 });
  const shares = g.op("Exp", [g.op("Sub", [scores, most])]);
  const sum = g.op("Log", [g.op("ReduceSum", [shares, g.ints(-1)], { keepdims: 1 })]);
  return g.op("Reshape", [g.op("Add", [sum, most]), g.ints(-1)]);
}
