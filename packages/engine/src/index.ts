export { type Device, DeviceName, deviceOf } from "./device.ts";
export { Engine, type EngineOptions } from "./engine.ts";
export * from "./errors.ts";
export * from "./types.ts";
export * from "./manifest.ts";
export { loadRunner, type RunnerOptions } from "./ort-runner.ts";
export type * from "./runner.ts";
