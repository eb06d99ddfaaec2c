/** One connection that listens to any number of channels, subscribed while somebody listens. */
import type { Redis } from "ioredis";

/** Called with each message, and with null when messages may have been missed. */
export type Listener = (message: string | null) => void;

type Channel = { listeners: Set<Listener>; subscribed: Promise<unknown> };

export class Subscriber {
  readonly #redis: Redis;
  readonly #channels = new Map<string, Channel>();

  /** Takes the connection for itself; made with `connectRedis`, which leaves subscribing again to us. */
  constructor(redis: Redis) {
    this.#redis = redis;
    redis.on("message", (channel, message) => {
      for (const listener of this.#channels.get(channel)?.listeners ?? []) listener(message);
    });
    let again = redis.status === "ready";
    redis.on("ready", () => {
      if (again) void this.#resubscribe();
      again = true;
    });
  }

  /** Resolves once messages arrive; returns how to stop. Rejects when Redis cannot be reached. */
  async subscribe(name: string, listener: Listener): Promise<() => void> {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = { listeners: new Set(), subscribed: this.#redis.subscribe(name) };
      this.#channels.set(name, channel);
    }
    const { listeners, subscribed } = channel;
    listeners.add(listener);
    const stop = () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      this.#channels.delete(name);
      this.#redis.unsubscribe(name).catch(() => {}); // a lost connection has unsubscribed already
    };
    try {
      await subscribed;
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  }

  async #resubscribe(): Promise<void> {
    const names = [...this.#channels.keys()];
    if (names.length === 0) return;
    try {
      await this.#redis.subscribe(...names);
    } catch {
      return; // lost again: the next "ready" repeats this
    }
    for (const name of names) {
      for (const listener of this.#channels.get(name)?.listeners ?? []) listener(null);
    }
  }
}
