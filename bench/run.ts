/** One command for every measurement. Usage: pnpm bench NAME [its arguments] */
const benches: Record<string, { says: string; start: () => Promise<unknown> }> = {
  engine: {
    says: "the engine against a bare loop over its graph",
    start: () => import("./engine.ts"),
  },
  precision: {
    says: "what fp32, fp16, int8 and int4 cost and give",
    start: () => import("./precision.ts"),
  },
  gpu: {
    says: "real shapes on a card, against its memory bandwidth",
    start: () => import("./gpu.ts"),
  },
  queue: {
    says: "HTTP to answer with an instant engine, against bare BullMQ and bare Redis",
    start: () => import("./queue.ts"),
  },
  stream: {
    says: "thousands of event streams on one API process",
    start: () => import("./stream.ts"),
  },
  overload: {
    says: "three times as many requests as can be answered",
    start: () => import("./overload.ts"),
  },
  nano: {
    says: "how often models/nano is right, and how fast",
    start: () => import("./nano-accuracy.ts"),
  },
  "event-loop": {
    says: "how late event loops are while the engine runs",
    start: () => import("./event-loop.ts"),
  },
  "convert-memory": {
    says: "what a conversion needs",
    start: () => import("./convert-memory.ts"),
  },
};

const [name = ""] = process.argv.splice(2, 1);
const bench = benches[name];
if (bench === undefined) {
  console.error("Usage: pnpm bench NAME [its arguments]");
  for (const [known, { says }] of Object.entries(benches))
    console.error(`  ${known.padEnd(15)} ${says}`);
  process.exitCode = 2;
} else {
  await bench.start();
}
