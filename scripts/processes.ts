// Runs one long-lived process: log to a file, restart with back-off, stop within a bounded time.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { Problem } from "./settings.ts";

export type Program = {
  name: string;
  command: string;
  args: string[];
  cwd: string;
  env: NodeJS.ProcessEnv;
  logFile: string;
  /** How long it may take to drain after SIGTERM before it is killed. */
  drainMs: number;
};

export type Running = { stop(): Promise<void> };

/** A process that lived this long had started well: its next end is a new story. */
const settledMs = 10_000;
const maxRestarts = 4;

/**
 * Starts `program` and starts it again when it ends, a little later each time. When it ends again
 * and again within seconds, `giveUp` is told why, once.
 */
export function keepRunning(program: Program, giveUp: (reason: Problem) => void): Running {
  let child: ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();
  let stopping = false;
  let restarts = 0;
  let timer: NodeJS.Timeout | undefined;

  function start(): void {
    const startedAt = Date.now();
    const log = openSync(program.logFile, "a");
    const { command, args, cwd, env } = program;
    const current = spawn(command, args, { cwd, env, stdio: ["ignore", log, log] });
    closeSync(log);
    child = current;
    ended = new Promise((resolve) => {
      current.once("error", (error) => resolve(onEnd(error.message, startedAt)));
      current.once("exit", (code, signal) => {
        resolve(onEnd(signal ? `killed by ${signal}` : `exit code ${code}`, startedAt));
      });
    });
  }

  function onEnd(how: string, startedAt: number): void {
    child = undefined;
    if (stopping) return;
    if (Date.now() - startedAt > settledMs) restarts = 0;
    if (restarts === maxRestarts) {
      giveUp(new Problem(`${program.name} does not stay up (${how}).\n${lastLines(program)}`));
      return;
    }
    const delayMs = 250 * 2 ** restarts++;
    console.log(`  ! ${program.name} ended (${how}); starting it again in ${delayMs / 1000} s`);
    timer = setTimeout(start, delayMs);
  }

  start();
  return {
    async stop() {
      stopping = true;
      clearTimeout(timer);
      const kill = setTimeout(() => child?.kill("SIGKILL"), program.drainMs);
      child?.kill("SIGTERM");
      await ended;
      clearTimeout(kill);
    },
  };
}

function lastLines({ logFile }: Program): string {
  const lines = readFileSync(logFile, "utf8").trimEnd().split("\n").slice(-8);
  return `The end of ${logFile}:\n${lines.map((line) => `  ${line}`).join("\n")}`;
}
