import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { Runtime } from "./ort.ts";

const ort = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
const folder = join(ort, "bin", "napi-v6", process.platform, process.arch);
const hasProvider = existsSync(join(folder, "libonnxruntime_providers_cuda.so"));

it.skipIf(hasProvider)("a missing CUDA provider is named, with where to read on", () => {
  const refused = expect.objectContaining({
    code: "engine_failure",
    message:
      process.platform === "linux"
        ? "CUDA cannot be used: libonnxruntime_providers_shared.so cannot be loaded; docs/gpu.md says what to install"
        : expect.stringContaining("docs/gpu.md"),
  });
  expect(() => new Runtime({ type: "cuda", id: 1, memoryLimitBytes: 2 ** 30 })).toThrow(refused);
  new Runtime().close(); // the process goes on
});
