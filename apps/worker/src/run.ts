/** Runs a worker for as long as its process lives: ready, signals, exit. */
import { flushCompileCache } from "node:module";
import { reportToFleet } from "./report.ts";
import type { WorkerDeps } from "./worker.ts";
import { startWorker } from "./worker.ts";

/** What BullMQ and the connections may take beyond the grace before we leave without them. */
const closingMs = 4_000;

/**
 * Starts the worker, logs `ready`, and on the first SIGTERM or SIGINT drains it, calls `close` and exits with 0.
 * A second signal ends the grace. Exits with 1 when Redis is away and nothing comes to an end.
 */
export async function runUntilSignal(deps: WorkerDeps, close: () => Promise<void>): Promise<void> {
  const { config } = deps;
  const log = deps.log.child({ worker: config.workerId });
  // A fleet that dies while its worker comes up leaves one that nobody would ever ask to stop; it has taken nothing yet.
  const leave = () => process.exit(1);
  if (process.send !== undefined && !process.connected) leave();
  process.once("disconnect", leave);
  const worker = await startWorker({ ...deps, log });
  process.off("disconnect", leave);
  log.info({ ...config.served, threads: config.threads }, "ready");
  flushCompileCache(); // whoever is started in our place has it, even if we are killed

  let asked = false;
  async function stop(signal: string): Promise<void> {
    log.info({ signal }, "stopping");
    if (asked) return worker.handBack();
    asked = true;
    setTimeout(() => process.exit(1), config.graceMs + closingMs).unref();
    await worker.stop();
    await close();
    log.info("stopped");
    process.exit(0);
  }
  process.on("SIGTERM", () => void stop("SIGTERM"));
  // A terminal sends its SIGINT to the whole fleet; a worker hears of it from the process that started it.
  process.on("SIGINT", () => process.connected || void stop("SIGINT"));
  reportToFleet(worker.report, () => {
    // Whoever takes our place may be on this card already.
    void stop("the fleet is gone");
    worker.handBack();
  });
}
