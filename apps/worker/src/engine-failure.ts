/** What a process does whose engine has broken: it ends, and says by its exit code why. */
import type { Logger } from "@glimpse/telemetry";

/** EX_SOFTWARE of sysexits: the runtime broke on the way. The fleet gives its jobs back and starts another process. */
const ENGINE_FAILURE_EXIT = 70;

export function exitWhenBroken(failed: Promise<Error>, log: Logger): void {
  void failed.then((error) => {
    log.fatal({ error }, "the engine broke");
    process.exit(ENGINE_FAILURE_EXIT);
  });
}
