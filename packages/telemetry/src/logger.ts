/** One logger for all processes: a JSON line an event, on standard output. Prompts, answers and secrets are never logged. */
import type { Logger } from "pino";
import { destination, pino, stdSerializers, stdTimeFunctions } from "pino";

export type { Logger } from "pino";

/**
 * A logger whose lines carry the process's name. It also sees to it that whatever nobody caught, at start or later, becomes a
 * line of the log and ends the process with 1.
 */
export function createProcessLogger(name: string): Logger {
  const log = createLogger(name, "info");
  process.on("uncaughtException", (error) => {
    log.fatal({ error }, "crashed");
    process.exit(1);
  });
  return log;
}

/** A logger for a part of a process, or for a test, which may want the lines elsewhere. */
export function createLogger(
  name: string,
  level: string,
  to: { write(line: string): void } = gatherLines(1),
): Logger {
  const options = {
    level,
    base: { process: name },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: stdSerializers.err },
  };
  return pino(options, to);
}

/** More than that of one turn is written at once. */
const maxWaitingChars = 8 * 1024;

/**
 * Writes the lines of one turn of the event loop together: a write of its own costs more than all else about a line. Gathered
 * here, since sonic-boom's own `flushSync` waits for the disk wherever the log is a file.
 */
function gatherLines(file: number) {
  const lines = destination({ dest: file, sync: true });
  let waiting = "";
  let isFlushing = false;
  function flush(): void {
    const gathered = waiting;
    waiting = "";
    if (gathered !== "") lines.write(gathered);
  }
  process.on("exit", flush);
  return {
    write(line: string): void {
      waiting += line;
      if (waiting.length > maxWaitingChars) flush();
      if (isFlushing) return;
      isFlushing = true;
      setImmediate(() => {
        isFlushing = false;
        flush();
      });
    },
    flushSync: flush,
  };
}
