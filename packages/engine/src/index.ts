export { readGenerationSettings } from "./checkpoint.ts";
export { type Core, createCore, type Work } from "./core.ts";
export { DEFAULT_LIMITS, Engine, type EngineOptions } from "./engine.ts";
export * from "./errors.ts";
export * from "./types.ts";
export * from "./manifest.ts";
export { loadRunner, type RunnerOptions } from "./ort-runner.ts";
export { startProcessorPool } from "./processor-pool.ts";
export type * from "./runner.ts";
