/** One logger for all processes: a JSON line an event, on standard output. Prompts, answers and secrets are never logged. */
import type { Logger } from "pino";
import { pino, stdSerializers, stdTimeFunctions } from "pino";

export type { Logger } from "pino";

/** A logger whose lines carry the process's name. */
export function createLogger(process: string, level: string): Logger {
  return pino({
    level,
    base: { process },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { error: stdSerializers.err },
  });
}
