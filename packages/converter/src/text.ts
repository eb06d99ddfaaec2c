/** The language model: token ids to embeddings, embeddings to logits, by transformers' Glm4vTextModel. */
import { DECODER_IO, EMBEDDING_IO } from "@glimpse/engine";
import type { TextArchitecture } from "./config.ts";
import { type FindWeight, GraphBuilder, type Value } from "./graph.ts";
import { linear, rmsNorm, swiGlu } from "./layers.ts";
import { DATA_TYPES } from "./onnx.ts";

const EMBEDDINGS = "embed_tokens.weight";
const HEAD = "lm_head.weight";

/** @param prefix of the text model's tensors, such as "model.language_model." */
export function embeddingGraph(
  text: TextArchitecture,
  prefix: string,
  findWeight: FindWeight,
): Uint8Array {
  const IO = EMBEDDING_IO;
  const { vocab, hidden } = text;
  const g = new GraphBuilder("embedding", findWeight);
  const ids = g.input(IO.ids, "int32", ["tokens"]);
  const features = g.input(IO.features, "float32", ["replaced", hidden]);
  const index = g.input(IO.featureIndex, "int32", ["replaced"]);

  const embeddings = g.op("Gather", [g.weight(prefix + EMBEDDINGS, [vocab, hidden]), ids]);
  const rows = g.op("Unsqueeze", [g.op("Cast", [index], { to: DATA_TYPES.int64 }), g.ints(-1)]);
  const mixed = g.op("ScatterND", [embeddings, rows, features]);
  g.output(IO.embeddings, "float32", ["tokens", hidden], mixed);
  return g.encode();
}

/** @param prefix of the text model's tensors; the output head has none */
export function decoderGraph(
  text: TextArchitecture,
  prefix: string,
  findWeight: FindWeight,
): Uint8Array {
  const IO = DECODER_IO;
  const { hidden, vocab, eps } = text;
  const g = new GraphBuilder("decoder", findWeight);
  const frequencies = Math.ceil(text.rope.dim / 2);
  let x = g.input(IO.embeddings, "float32", ["tokens", hidden]);
  const step: Step = {
    cos: g.input(IO.cos, "float32", ["tokens", frequencies]),
    sin: g.input(IO.sin, "float32", ["tokens", frequencies]),
    lastIndex: g.input(IO.lastIndex, "int32", ["batch"]),
    totalLength: g.input(IO.totalLength, "int32", []),
    batch: g.op("Shape", [IO.lastIndex]),
  };

  for (let i = 0; i < text.layers; i++) {
    const layer = `${prefix}layers.${i}`;
    const norm = (name: string, value: Value) => rmsNorm(g, value, `${layer}.${name}`, hidden, eps);
    const attention = selfAttention(g, text, i, layer, norm("input_layernorm", x), step);
    x = g.op("Add", [x, norm("post_self_attn_layernorm", attention)]);
    const inner = mlp(g, text, layer, norm("post_attention_layernorm", x));
    x = g.op("Add", [x, norm("post_mlp_layernorm", inner)]);
  }

  // Only each sequence's last token goes through the head: all of them would be [tokens, vocab].
  const last = g.op("Gather", [batched(g, x, hidden, step), g.scalar(-1)], { axis: 1 });
  const normed = rmsNorm(g, last, `${prefix}norm`, hidden, eps);
  const head = g.weight(text.tied ? prefix + EMBEDDINGS : HEAD, [vocab, hidden]);
  g.output(IO.logits, "float32", ["batch", vocab], g.op("Gemm", [normed, head], { transB: 1 }));
  return g.encode();
}

/** Heads in the cache are padded with zeros to what the attention kernel takes: multiples of 8. */
export function cacheDim({ headDim }: TextArchitecture): number {
  return 8 * Math.ceil(headDim / 8);
}

/** What changes from call to call: the tokens' rotation, and how long the sequences are. */
type Step = { cos: Value; sin: Value; lastIndex: Value; totalLength: Value; batch: Value };

/** Causal grouped-query attention over the cache, which it appends to in place. */
function selfAttention(
  g: GraphBuilder,
  text: TextArchitecture,
  index: number,
  layer: string,
  x: Value,
  step: Step,
): Value {
  const { hidden, heads, kvHeads, headDim } = text;
  const project = (name: string, count: number) =>
    linear(g, x, `${layer}.self_attn.${name}`, [count * headDim, hidden], { bias: true });
  const toKernel = (value: Value, count: number) =>
    batched(g, padHeads(g, text, value, count), count * cacheDim(text), step);

  const query = rotate(g, text, project("q_proj", heads), heads, step);
  const key = rotate(g, text, project("k_proj", kvHeads), kvHeads, step);
  const value = project("v_proj", kvHeads);
  const cacheDims = ["batch", kvHeads, "capacity", cacheDim(text)];
  const attention = g.contrib(
    "GroupQueryAttention",
    [
      toKernel(query, heads),
      toKernel(key, kvHeads),
      toKernel(value, kvHeads),
      g.input(DECODER_IO.pastKey(index), "float32", cacheDims),
      g.input(DECODER_IO.pastValue(index), "float32", cacheDims),
      step.lastIndex,
      step.totalLength,
    ],
    { num_heads: heads, kv_num_heads: kvHeads, scale: { float: headDim ** -0.5 } },
    [
      g.declareOutput(DECODER_IO.presentKey(index), "float32", cacheDims),
      g.declareOutput(DECODER_IO.presentValue(index), "float32", cacheDims),
    ],
  );
  const output = cutHeads(g, text, attention);
  return linear(g, output, `${layer}.self_attn.o_proj`, [hidden, heads * headDim]);
}

/** Rotates neighbours (2i, 2i + 1) of each head's first elements; the rest passes through. */
function rotate(
  g: GraphBuilder,
  text: TextArchitecture,
  x: Value,
  count: number,
  { cos, sin }: Step,
): Value {
  const width = count * text.headDim;
  const oneSequence = g.op("Reshape", [x, g.ints(1, -1, width)]);
  const rotated = g.contrib("RotaryEmbedding", [oneSequence, g.ints(0), cos, sin], {
    interleaved: 1,
    num_heads: count,
    rotary_embedding_dim: 2 * Math.ceil(text.rope.dim / 2),
  });
  return g.op("Reshape", [rotated, g.ints(-1, width)]);
}

function mlp(g: GraphBuilder, text: TextArchitecture, layer: string, x: Value): Value {
  const { hidden, intermediate } = text;
  const gateUp = linear(g, x, `${layer}.mlp.gate_up_proj`, [2 * intermediate, hidden]);
  const [gate, up] = g.ops(2, "Split", [gateUp], { axis: -1, num_outputs: 2 }) as [Value, Value];
  return linear(g, swiGlu(g, gate, up), `${layer}.mlp.down_proj`, [hidden, intermediate]);
}

/** [tokens, width] -> [batch, sequence, width] */
function batched(g: GraphBuilder, x: Value, width: number, { batch }: Step): Value {
  return g.op("Reshape", [x, g.op("Concat", [batch, g.ints(-1, width)], { axis: 0 })]);
}

function padHeads(g: GraphBuilder, text: TextArchitecture, x: Value, count: number): Value {
  const missing = cacheDim(text) - text.headDim;
  if (missing === 0) return x;
  const split = g.op("Reshape", [x, g.ints(-1, count, text.headDim)]);
  const padded = g.op("Pad", [split, g.ints(0, 0, 0, 0, 0, missing)]);
  return g.op("Reshape", [padded, g.ints(-1, count * cacheDim(text))]);
}

/** [batch, sequence, heads * cacheDim] -> [tokens, heads * headDim] */
function cutHeads(g: GraphBuilder, text: TextArchitecture, x: Value): Value {
  const { heads, headDim } = text;
  if (headDim === cacheDim(text)) return g.op("Reshape", [x, g.ints(-1, heads * headDim)]);
  const split = g.op("Reshape", [x, g.ints(-1, heads, cacheDim(text))]);
  const cut = g.op("Slice", [split, g.ints(0), g.ints(headDim), g.ints(2)]);
  return g.op("Reshape", [cut, g.ints(-1, heads * headDim)]);
}
