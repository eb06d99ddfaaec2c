/** One worker of the fleet, a process of its own: brings the model up on its device and takes jobs. */
import { prepareModel } from "@glimpse/converter";
import { Engine } from "@glimpse/engine";
import { createProcessLogger, watchLoopDelay } from "@glimpse/telemetry";
import { readConfig } from "./config.ts";
import { exitWhenBroken } from "./engine-failure.ts";
import { runUntilSignal } from "./run.ts";

const log = createProcessLogger("worker");
const config = readConfig();
log.level = config.logLevel;
const { modelDir, cacheDir, device, threads, slots, pictures } = config;

const onnxDir = await prepareModel(modelDir, {
  cacheDir,
  dtype: device.type === "cuda" ? "fp16" : "fp32",
  onProgress: (progress) => log.debug({ progress }, "preparing the model"),
});
const engine = await Engine.load(onnxDir, {
  device,
  threads,
  slots,
  pictures,
});
exitWhenBroken(engine.failed, log);
const loopDelay = watchLoopDelay();
await runUntilSignal({ config, log, engine, loopDelay: loopDelay.read }, () => engine.close());
