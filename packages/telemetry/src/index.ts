export { createLogger, createProcessLogger } from "./logger.ts";
export type { Logger } from "./logger.ts";
export { watchLoopDelay } from "./loop-delay.ts";
export type { LoopDelay } from "./loop-delay.ts";
export { createMetrics } from "./metrics.ts";
export type { Metrics } from "./metrics.ts";
