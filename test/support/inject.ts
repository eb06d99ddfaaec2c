/**
 * TEST ONLY, loaded into a process under test by --import: faults at a named place inside it, which no product code knows of.
 * The places are commands of Redis, since those are the steps between which a process may die; scripts go by their names.
 *   KILL_AT="before finish"         SIGKILL just before a `finish` is sent
 *   KILL_AT="after append"          SIGKILL once the reply of an `append` is there
 *   KILL_FUSE=path                  but only while this file is there, which is removed before: one death for each time it is laid
 *   PLANT="lose finish"             every third job is lost once its end is said to be written
 *   PLANT="repeat finish"           each job is finished twice
 *   PLANT="swallow append"          every third `append` loses an event of the log
 *   CLOCK_SHIFT_MS=60000            the process's clock is a minute fast
 *   BLOCK_MS=7000                   SIGUSR2 blocks the event loop for so long
 */
import { unlinkSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { Redis } from "ioredis";

type Command = Parameters<Redis["sendCommand"]>[0];
type Scripts = Record<string, { sha: string; lua: string }>;

const {
  KILL_AT = "",
  KILL_FUSE = "",
  PLANT = "",
  CLOCK_SHIFT_MS = "0",
  BLOCK_MS = "0",
} = process.env;

/** The name under which a script was defined, without `glimpse_` and BullMQ's `:version`; a plain command's own name. */
function nameOf(redis: Redis, { name, args }: Command): string {
  if (name !== "evalsha" && name !== "eval") return name;
  const { scriptsSet } = redis as unknown as { scriptsSet: Scripts };
  const found = Object.entries(scriptsSet).find(
    ([, { sha, lua }]) => args[0] === sha || args[0] === lua,
  );
  return found?.[0].replace(/^glimpse_/, "").replace(/:.*$/, "") ?? name;
}

const [when = "", place = ""] = KILL_AT.split(" ");
const [plant = "", planted = ""] = PLANT.split(" ");

function die(): void {
  try {
    unlinkSync(KILL_FUSE);
  } catch {
    return; // It is not laid.
  }
  process.kill(process.pid, "SIGKILL");
}

function injectFaults(): void {
  // oxlint-disable-next-line typescript/unbound-method -- it is called on its connection below
  const send = Redis.prototype.sendCommand;
  let met = 0;
  Redis.prototype.sendCommand = function sendOrFail(this: Redis, command, stream) {
    const name = nameOf(this, command);
    if (name === place) {
      if (when === "before") die();
      else void command.promise.then(die, () => {});
    }
    if (name === planted) {
      met++;
      if (plant === "repeat") repeatOnce(this, command);
      if (plant === "lose" && met % 3 === 0) loseRecord(this, command);
      if (plant === "swallow" && met % 3 === 0) swallowLast(this, command);
    }
    return send.call(this, command, stream);
  };
}

/** What a Redis without persistence would do. */
function loseRecord(redis: Redis, command: Command): void {
  const job = String(command.args[2]);
  command.promise.then(() => redis.del(job)).catch(() => {});
}

const repeated = new Set<string>();

/** What a finish without fencing would do. */
function repeatOnce(redis: Redis, command: Command): void {
  const [, keys, job = "", ...rest] = command.args.map(String);
  if (repeated.has(job)) return;
  repeated.add(job);
  const again = async () => {
    await redis.hset(job, "state", "running");
    await redis.evalsha(scriptSha(redis, "glimpse_finish"), Number(keys), job, ...rest);
  };
  command.promise.then(again).catch(() => {});
}

/** What a log that is not written in the same step as its number would do. */
function swallowLast(redis: Redis, command: Command): void {
  const log = String(command.args[3]);
  const swallow = (replies: unknown) => {
    const [[, next]] = replies as [[number, number]]; // of the first of the calls that were made together, as is its log
    return redis.xdel(log, `${next - 1}-1`);
  };
  command.promise.then(swallow).catch(() => {});
}

function scriptSha(redis: Redis, name: string): string {
  return (redis as unknown as { scriptsSet: Scripts }).scriptsSet[name]?.sha ?? "";
}

function shiftClock(byMs: number): void {
  const now = Date.now;
  Date.now = () => now() + byMs;
}

if (isMainThread) {
  if (KILL_AT !== "" || PLANT !== "") injectFaults();
  if (CLOCK_SHIFT_MS !== "0") shiftClock(Number(CLOCK_SHIFT_MS));
  if (BLOCK_MS !== "0") {
    const nobody = new Int32Array(new SharedArrayBuffer(4));
    process.on("SIGUSR2", () => void Atomics.wait(nobody, 0, 0, Number(BLOCK_MS)));
  }
}
