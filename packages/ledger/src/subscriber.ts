/** One connection that listens to any number of channels, subscribed while somebody listens. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Redis } from "ioredis";

/** Called with each message, and with null when messages may have been missed. */
export type Listener = (message: string | null) => void;

type Channel = { listeners: Set<Listener>; subscribed: Promise<unknown> };

/** How often the connection is asked for a sign of life: one that only listens would never see that the other end is gone. */
const pingEveryMs = 5_000;

/** Channels in one command, at most. */
const portion = 1_000;

export class Subscriber {
  readonly #redis: Redis;
  readonly #channels = new Map<string, Channel>();
  /** Channels that somebody has begun or ceased to listen to in this turn of the event loop: they share a command. */
  #changes: { names: Set<string>; sent: Promise<void> } | undefined;
  /** What the names of channels begin with that one command subscribes for good; not `subscribed` when that has failed. */
  #family: { prefix: string; subscribed?: Promise<unknown> | undefined } | undefined;

  /** Takes the connection for itself; made with `connectRedis`, which leaves subscribing again to us and drops a silent one. */
  constructor(redis: Redis) {
    this.#redis = redis;
    redis.on("message", (channel, message) => this.#tell(channel, message));
    redis.on("pmessage", (_pattern, channel, message) => this.#tell(channel, message));
    let again = redis.status === "ready";
    redis.on("ready", () => {
      if (again || this.#family !== undefined) void this.#resubscribe();
      again = true;
    });
    const pinging = setInterval(() => {
      if (redis.status === "ready") redis.ping().catch(() => {});
    }, pingEveryMs).unref();
    redis.once("end", () => clearInterval(pinging));
  }

  /** Whether messages can arrive just now. */
  get isReady(): boolean {
    return this.#redis.status === "ready";
  }

  /** From now on, channels whose names begin like this need no commands of their own; their messages come all the time. */
  subscribeFamily(prefix: string): void {
    this.#family = { prefix };
    this.#joinFamily().catch(() => {}); // whoever subscribes tries again
  }

  /** Resolves once messages arrive; returns how to stop. Rejects when Redis cannot be reached. */
  async subscribe(name: string, listener: Listener): Promise<() => void> {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = { listeners: new Set(), subscribed: this.#begin(name) };
      this.#channels.set(name, channel);
    }
    const { listeners, subscribed } = channel;
    listeners.add(listener);
    const stop = () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      this.#channels.delete(name);
      if (!this.#isOfFamily(name)) this.#change(name).catch(() => {}); // whoever listens is told by their own promise
    };
    try {
      await subscribed;
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  }

  #begin(name: string): Promise<unknown> {
    if (!this.#isOfFamily(name)) return this.#change(name);
    return this.#family?.subscribed ?? this.#joinFamily();
  }

  #isOfFamily(name: string): boolean {
    return this.#family !== undefined && name.startsWith(this.#family.prefix);
  }

  /** A Redis that allows no patterns is asked for each channel from then on. */
  async #joinFamily(): Promise<void> {
    const family = this.#family;
    if (family === undefined) return;
    family.subscribed = this.#redis.psubscribe(`${family.prefix}*`);
    try {
      await family.subscribed;
    } catch (error) {
      family.subscribed = undefined;
      if (error instanceof Error && error.message.startsWith("NOPERM")) this.#family = undefined;
      throw error;
    }
  }

  /** Resolves once the channel is subscribed, or rejects if it cannot be; nothing is said of one that nobody listens to by then. */
  #change(name: string): Promise<void> {
    if (this.#changes === undefined) {
      const names = new Set<string>();
      this.#changes = { names, sent: nextTurn().then(() => this.#send(names)) };
    }
    this.#changes.names.add(name);
    return this.#changes.sent;
  }

  async #send(names: Set<string>): Promise<void> {
    this.#changes = undefined;
    const all = [...names];
    const left = all.filter((name) => !this.#channels.has(name));
    // A lost connection has unsubscribed already.
    for (const some of portions(left)) this.#redis.unsubscribe(...some).catch(() => {});
    await this.#join(all.filter((name) => this.#channels.has(name)));
  }

  /** All commands are sent at once, so that a channel left meanwhile is not subscribed after that. */
  async #join(names: string[]): Promise<void> {
    await Promise.all(portions(names).map((some) => this.#redis.subscribe(...some)));
  }

  async #resubscribe(): Promise<void> {
    const redis = this.#redis;
    const names = [...this.#channels.keys()];
    try {
      const others = names.filter((name) => !this.#isOfFamily(name));
      await Promise.all([this.#joinFamily(), this.#join(others)]);
    } catch {
      // Lost again, and the next "ready" repeats this; or only slow, and then it has to be lost.
      if (redis.status === "ready") redis.disconnect(true);
      return;
    }
    for (const name of names) {
      for (const listener of this.#channels.get(name)?.listeners ?? []) listener(null);
    }
  }

  #tell(channel: string, message: string): void {
    for (const listener of this.#channels.get(channel)?.listeners ?? []) listener(message);
  }
}

function portions(names: string[]): string[][] {
  const parts: string[][] = [];
  for (let i = 0; i < names.length; i += portion) parts.push(names.slice(i, i + portion));
  return parts;
}
