/** The worker thread's end of processor-pool.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { errorWords } from "./errors.ts";
import type { ProcessorReply, ProcessorRequest, ProcessorSetup } from "./processor-pool.ts";
import { loadProcessor } from "./processor.ts";

if (parentPort === null) throw new Error("processor-thread.ts runs as a worker thread only");
const port = parentPort;
const { dir, limits } = workerData as ProcessorSetup;

const reply = (message: ProcessorReply, transfer: ArrayBuffer[] = []): void =>
  port.postMessage(message, transfer);

function refuse(number: number, cause: unknown): void {
  reply({ number, error: errorWords(cause, "the request could not be prepared") });
}

try {
  const processor = await loadProcessor(dir, limits);
  port.on("message", ({ number, messages, thinking }: ProcessorRequest) => {
    processor.process(messages, thinking).then(
      (input) => reply({ number, input }, [input.pixels.buffer]),
      (cause: unknown) => refuse(number, cause),
    );
  });
  reply({ number: 0, vocabulary: processor.vocabulary });
} catch (cause) {
  refuse(0, cause);
}
