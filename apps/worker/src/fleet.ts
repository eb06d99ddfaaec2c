/**
 * One worker a card, each a process of its own: started, watched, started again when it dies. Knows processes and their
 * reports; knows neither the queue nor the engine.
 */
import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import type { Logger } from "@glimpse/telemetry";
import type { Report } from "./report.ts";
import { report, reportEveryMs } from "./report.ts";
import { createRestarts } from "./restarts.ts";

/** A worker that has not reported for this many seconds hangs: its locks have long run out. */
const silentReports = 20;

export type WorkerState = {
  /** The card it has to itself; null when it has none. */
  card: string | null;
  /** `broken`: it dies again and again and is tried only now and then. */
  state: "starting" | "ready" | "waiting" | "broken" | "stopped";
  /** Deaths that nobody asked for. */
  deaths: number;
  running: number;
  ended: number;
};

export type Death = {
  workerId: string;
  /** It came down by itself, rather than being killed from outside. */
  crashed: boolean;
};

export type FleetOptions = {
  /** The file that one worker runs. */
  program: URL;
  cards: (string | null)[];
  /** The workers' environment. */
  env: Record<string, string | undefined>;
  log: Logger;
  /** Told of every death, before the worker is started again. */
  onDeath: (death: Death) => void;
  /** Told when no worker has ever got ready and none is left: starting them again would not help. */
  onHopeless: (exitCode: number) => void;
};

export type Fleet = ReturnType<typeof startFleet>;

/** Starts the workers and keeps them running until `stop`. */
export function startFleet(options: FleetOptions) {
  let wasReady = false;
  const members = options.cards.map((card) =>
    keepWorker(card, {
      ...options,
      onReady: () => (wasReady = true),
      onHopeless: (code) => {
        if (!wasReady && members.every((member) => !member.isAlive())) options.onHopeless(code);
      },
    }),
  );
  return {
    read: (): WorkerState[] => members.map((member) => member.read()),
    /** Asks every worker to drain; asked again, to hand back what it runs. Resolves to whether all ended well. */
    async stop(): Promise<boolean> {
      return (await Promise.all(members.map((member) => member.stop()))).every(Boolean);
    },
  };
}

/** Signals that somebody sends: no sign that the worker's own code came down. An out-of-memory killer sends one of them too. */
const sent: readonly (string | null)[] = ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"];

function keepWorker(card: string | null, options: FleetOptions & { onReady: () => void }) {
  const { program, onDeath, onReady, onHopeless } = options;
  const restarts = createRestarts();
  let log = options.log;
  let child: ChildProcess | undefined;
  let ended = Promise.resolve(true);
  let state: WorkerState["state"] = "starting";
  let last: Report = { running: 0, ended: 0 };
  let deaths = 0;
  let silent = 0;
  let hangs = false;
  let timer: NodeJS.Timeout | undefined;

  function start(): void {
    const workerId = randomUUID();
    log = options.log.child({ worker: workerId, card });
    [silent, hangs] = [0, false];
    const cardOnly = card === null ? {} : { CUDA_VISIBLE_DEVICES: card };
    const env = { ...options.env, ...cardOnly, WORKER_ID: workerId };
    const current = fork(program, { env, execArgv: process.execArgv });
    child = current;
    log.info({ pid: current.pid }, "a worker starts");
    current.on("message", (message) => {
      const read = report.safeParse(message);
      if (read.success) onReport(read.data);
    });
    ended = new Promise((resolve) => {
      current.once("exit", (code, signal) => resolve(onEnd(workerId, code, signal)));
      current.once("error", (error) => {
        log.error({ error }, "a worker could not be started");
        if (current.pid === undefined) resolve(onEnd(workerId, 1, null));
      });
    });
  }

  function onReport(now: Report): void {
    last = now;
    silent = 0;
    if (now.ended > 0) restarts.worked();
    if (state === "stopped") return;
    state = "ready";
    onReady();
  }

  /** Counts our own ticks rather than the time, so that a machine that was suspended is not taken for a worker that hangs. */
  const watch = setInterval(() => {
    if (state !== "ready" || ++silent < silentReports) return;
    log.error("a worker hangs; it is killed");
    hangs = true;
    child?.kill("SIGKILL");
  }, reportEveryMs);

  /** Returns whether the worker ended because it was asked to, and in order. */
  function onEnd(workerId: string, code: number | null, signal: NodeJS.Signals | null): boolean {
    const before = state;
    child = undefined;
    last = { running: 0, ended: 0 };
    if (before === "stopped" && (code === 0 || signal === "SIGTERM")) return true;
    deaths++;
    const crashed = hangs || !sent.includes(signal);
    onDeath({ workerId, crashed });
    if (before === "stopped") return false;
    const delayMs = Math.round(restarts.died());
    state = restarts.isBroken ? "broken" : "waiting";
    log.error({ code, signal, crashed, state, delayMs }, "a worker died");
    timer = setTimeout(() => {
      if (state === "waiting") state = "starting";
      start();
    }, delayMs);
    if (before !== "ready" && code !== null) onHopeless(code);
    return false;
  }

  start();
  return {
    isAlive: () => child !== undefined,
    read: (): WorkerState => ({ card, state, deaths, running: last.running, ended: last.ended }),
    async stop(): Promise<boolean> {
      state = "stopped";
      clearTimeout(timer);
      clearInterval(watch);
      if (child === undefined) return true;
      child.kill("SIGTERM");
      return ended;
    },
  };
}
