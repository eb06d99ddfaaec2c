import { expect, test } from "vitest";
import { readConfig } from "./config.ts";

test.each([
  [{}, { type: "cpu" }],
  [{ DEVICE: "cpu", GPU_MEMORY_MB: "1000" }, { type: "cpu" }],
  [{ DEVICE: "cuda" }, { type: "cuda", id: 0 }],
  [
    { DEVICE: "cuda:3", GPU_MEMORY_MB: "1000" },
    { type: "cuda", id: 3, memoryLimitBytes: 1000 * 2 ** 20 },
  ],
])("the device of %j", (env, device) => {
  expect(readConfig(env).device).toEqual(device);
});

test.each([
  [{ DEVICE: "gpu" }, "DEVICE: cpu, cuda or cuda:N"],
  [{ DEVICE: "cuda:one" }, "DEVICE"],
  [{ GPU_MEMORY_MB: "0" }, "GPU_MEMORY_MB"],
])("%j is refused by name", (env, words) => {
  expect(() => readConfig(env)).toThrow(words);
});
