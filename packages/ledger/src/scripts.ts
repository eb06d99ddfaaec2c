/** Loads the Lua steps and runs them. Each script's header is its contract; replies are parsed by whoever calls. */
import { readFileSync } from "node:fs";
import type { Redis } from "ioredis";
import { bullmqSteps, keyCountsOfBullmq } from "./bullmq-steps.ts";
import { createGather } from "./gather.ts";

const keyCounts = {
  submit: 10,
  start: 8,
  append: 3,
  release: 2,
  suspect: 1,
  finish: 8,
  cancel: 8,
  delete: 9,
  expire: 8,
  place: 8,
  requeue: 8,
  rebase: 1,
  beat: 1,
  workers: 1,
  claim_blob: 3,
  keep_blob: 1,
  sweep_blobs: 3,
  open_delivery: 6,
  note_try: 4,
  replay: 4,
  swap: 1,
  take: keyCountsOfBullmq.moveToActive,
} as const;

type ScriptName = keyof typeof keyCounts;

/** What is done with every job: many jobs come to it in one turn of the event loop, and then share a command. */
const gathered: readonly ScriptName[] = ["submit", "start", "append", "finish"];

export type Argument = string | number | Buffer;
export type RunScript = (name: ScriptName, keys: string[], args: Argument[]) => Promise<unknown>;

const read = (name: string) =>
  bullmqSteps[name] ?? readFileSync(new URL(`./scripts/${name}.lua`, import.meta.url), "utf8");

/** A script after those that its header says it includes. */
function compose(name: ScriptName): string {
  const own = read(name);
  const included = /^-- INCLUDES: (.+)$/m.exec(own)?.[1]?.split(" ") ?? [];
  const asked = gathered.includes(name)
    ? ["local function once(KEYS, ARGV)", own, "end", read("_many")]
    : [own];
  return [...included.map(read), ...asked].join("\n");
}

const names = Object.keys(keyCounts) as ScriptName[];
const texts = names.map((name) => [name, compose(name)] as const);

/** Defines the scripts on the connection; they are sent once and then called by their hash. */
export function loadScripts(redis: Redis): RunScript {
  for (const [name, lua] of texts) redis.defineCommand(`glimpse_${name}`, { lua });
  // defineCommand adds methods that no type knows: the one cast is here.
  const commands = redis as unknown as Record<string, (...args: Argument[]) => Promise<unknown>>;
  const send = (name: ScriptName) => (keys: string[], args: Argument[]) => {
    const command = commands[`glimpse_${name}`];
    if (command === undefined) throw new Error(`${name} is not defined`);
    return command.call(redis, keys.length, ...keys, ...args);
  };
  const calls = new Map(
    names.map((name) => [name, gathered.includes(name) ? createGather(send(name)) : send(name)]),
  );
  return async function runScript(name, keys, args) {
    if (keys.length !== keyCounts[name]) throw new Error(`${name} takes ${keyCounts[name]} keys`);
    return calls.get(name)?.(keys, args);
  };
}
