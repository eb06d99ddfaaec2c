/** The process: brings the model up, starts the worker, and ends both on a signal. */
import { prepareModel } from "@glimpse/converter";
import { Engine } from "@glimpse/engine";
import { createLogger, watchLoopDelay } from "@glimpse/telemetry";
import { readConfig } from "./config.ts";
import { startWorker } from "./worker.ts";

const config = readConfig();
const log = createLogger("worker", config.logLevel);
const { modelDir, cacheDir, threads, maxImagePixels } = config;

const onnxDir = await prepareModel(modelDir, {
  cacheDir,
  onProgress: (progress) => log.debug({ progress }, "preparing the model"),
});
const engine = await Engine.load(onnxDir, { device: "cpu", threads, maxPixels: maxImagePixels });
const loopDelay = watchLoopDelay();
const worker = await startWorker({ config, engine, log, loopDelay: loopDelay.read });
log.info({ worker: worker.id, ...config.served, threads }, "ready");

let asked = false;
async function stop(signal: string): Promise<void> {
  log.info({ signal }, "stopping");
  if (asked) return worker.handBack();
  asked = true;
  // Redis may be away, and then nothing that is waited for below comes to an end.
  setTimeout(() => process.exit(1), config.graceMs + 4_000).unref();
  await worker.stop();
  await engine.close();
  log.info("stopped");
  process.exit(0);
}
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void stop(signal));
