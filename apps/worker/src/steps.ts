/**
 * The way a worker's BullMQ talks to Redis, with two of its steps made cheaper: jobs asked for together are taken in one step, and
 * a job's end is written in the step that leaves the queue. Knows BullMQ's backend and the ledger's steps; neither slots nor jobs.
 */
import { createTake } from "@glimpse/ledger";
import type { Argument } from "@glimpse/ledger";
import type { BackendFactory, RedisQueueBackend } from "bullmq";
import { createRedisBackend } from "bullmq";
import type { Redis } from "ioredis";
import type { Finish } from "./perform.ts";

type Asked = {
  call: Argument[];
  resolve: (reply: unknown) => void;
  reject: (error: unknown) => void;
};

/** Where `moveToFinished` has the job's id and what becomes of it, after its 14 keys. */
const [idAt, targetAt] = [14, 18];

export type Steps = ReturnType<typeof createSteps>;

export function createSteps(redis: Redis) {
  const take = createTake(redis);
  const ends = new Map<string, Finish>();
  let asked: Asked[] = [];
  /** At least one is asked for before anything is known. */
  let waiting = 1;

  async function takeAsked(): Promise<void> {
    const together = asked;
    asked = [];
    try {
      const taken = await take(together.map(({ call }) => call));
      waiting = taken.waiting;
      for (const [i, { resolve }] of together.entries()) resolve(taken.replies[i]);
    } catch (error) {
      for (const { reject } of together) reject(error);
    }
  }

  function ask(call: Argument[]): Promise<unknown> {
    // After all that is asked for in this turn.
    if (asked.length === 0) process.nextTick(takeAsked);
    return new Promise((resolve, reject) => asked.push({ call, resolve, reject }));
  }

  async function finish(id: string, end: Finish, call: Argument[]): Promise<unknown> {
    const left = await end(call);
    ends.delete(id);
    return left;
  }

  const createBackend: BackendFactory<RedisQueueBackend> = (name, options, more) => {
    const backend = createRedisBackend(name, options, more);
    const execute = backend.execCommand.bind(backend);
    backend.execCommand = (client, command, args: Argument[]) => {
      if (command === "moveToActive") return ask(args);
      const id = String(args[idAt]);
      const end = ends.get(id);
      if (command !== "moveToFinished" || end === undefined) return execute(client, command, args);
      if (args[targetAt] === "completed") return finish(id, end, args);
      ends.delete(id);
      return execute(client, command, args);
    };
    return backend;
  };

  return {
    createBackend,
    /** How many jobs there were to take when some were last taken. */
    get waiting(): number {
      return waiting;
    },
    /** `finish` is called when BullMQ completes the job, in place of its own step. */
    endWith: (id: string, finish: Finish) => void ends.set(id, finish),
  };
}
