/** The graph that copies parts of the KV cache where only graphs reach it. */
import { COPY_IO as IO } from "@glimpse/engine";
import { GraphBuilder, type Precision } from "./graph.ts";

/** @param pieces copied at once, each [n] of its own length */
export function copyGraph(pieces: number, { float, matrices }: Precision): Uint8Array {
  const noWeights = () => {
    throw new Error("a copy has no weights");
  };
  const g = new GraphBuilder("copy", noWeights, { float, matrices });
  for (let i = 0; i < pieces; i++) {
    const length = [`length_${i}`];
    g.output(IO.target(i), float, length, g.input(IO.source(i), float, length));
  }
  return g.encode();
}
