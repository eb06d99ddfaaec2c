/**
 * What people write today: onnxruntime-node's own session over the same decoder graph, each step's present tensors
 * given back as the next one's past. Import it only once an engine is loaded: that switches the library's telemetry off.
 */
import { join } from "node:path";
import { DECODER_IO as IO, GRAPH_FILES, type Manifest, readManifest } from "@glimpse/engine";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { seconds } from "./measure.ts";

type Feeds = Record<string, Tensor>;

export async function loadJavaScriptLoop(dir: string) {
  const { text } = await readManifest(dir);
  // The engine chooses another attention kernel for the process (ort-api.ts); here it is as the library has it.
  process.env["ORT_GQA_DISABLE_FLASH_ATTENTION"] = "0"; // oxlint-disable-line node/no-process-env -- its only switch
  const session = await InferenceSession.create(join(dir, GRAPH_FILES.decoder), {
    graphOptimizationLevel: "all",
    logSeverityLevel: 3, // a growing cache is not what the graph declares, and it would say so at every step
  });
  const caches = Array.from({ length: text.layers }, (_, layer) => [
    [IO.pastKey(layer), IO.presentKey(layer)] as const,
    [IO.pastValue(layer), IO.presentValue(layer)] as const,
  ]).flat();

  /** Reads the prompt in `batch` rows, then decodes greedily. Returns the seconds of `steps` decode steps. */
  async function run(prompt: Int32Array, batch: number, steps: number): Promise<number> {
    const empty = new Tensor("float32", [], [batch, text.kvHeads, 0, text.cacheDim]);
    let cache: Feeds = Object.fromEntries(caches.map(([past]) => [past, empty]));
    let ids = Int32Array.from(
      { length: batch * prompt.length },
      (_, i) => prompt[i % prompt.length]!,
    );
    let past = 0;
    const next = async (): Promise<void> => {
      const length = ids.length / batch;
      const feeds = { ...describeStep(text, ids, past, batch), ...cache };
      const results = await session.run(feeds);
      past += length;
      ids = results[IO.candidateIds]!.data as Int32Array<ArrayBuffer>;
      cache = Object.fromEntries(caches.map(([name, present]) => [name, results[present]!]));
    };
    const decode = async (count: number): Promise<void> => {
      for (let step = 0; step < count; step++) await next();
    };
    await decode(1);
    return seconds(() => decode(steps));
  }

  return { run, close: () => session.release() };
}

/** All inputs but the cache: `ids` [batch, length] after `past` positions, no pictures, no penalty, one candidate. */
function describeStep(
  { hidden, rope }: Manifest["text"],
  ids: Int32Array,
  past: number,
  batch: number,
): Feeds {
  const length = ids.length / batch;
  const frequencies = Math.ceil(rope.dim / 2);
  const angles = Float32Array.from({ length: ids.length * frequencies }, (_, at) => {
    const position = past + (Math.floor(at / frequencies) % length);
    return position / rope.theta ** ((2 * (at % frequencies)) / rope.dim);
  });
  const floats = (data: Float32Array, ...dims: number[]) => new Tensor("float32", data, dims);
  const ints = (data: Int32Array, ...dims: number[]) => new Tensor("int32", data, dims);
  const none = new Int32Array(0);
  return {
    [IO.ids]: ints(ids, ids.length),
    [IO.features]: floats(new Float32Array(0), 0, hidden),
    [IO.featureIndex]: ints(none, 0),
    [IO.cos]: floats(angles.map(Math.cos), ids.length, frequencies),
    [IO.sin]: floats(angles.map(Math.sin), ids.length, frequencies),
    [IO.lastIndex]: ints(new Int32Array(batch).fill(past + length - 1), batch),
    [IO.totalLength]: ints(Int32Array.of(past + length)),
    [IO.rows]: ints(
      Int32Array.from({ length: batch }, (_, row) => (row + 1) * length - 1),
      batch,
    ),
    [IO.seen]: ints(none, batch, 0),
    [IO.penalty]: floats(new Float32Array(batch).fill(1), batch, 1),
    [IO.k]: new Tensor("int64", BigInt64Array.of(1n), [1]),
  };
}
