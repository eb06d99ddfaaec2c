/** One connection that listens to any number of channels, subscribed while somebody listens. */
import type { Redis } from "ioredis";

/** Called with each message, and with null when messages may have been missed. */
export type Listener = (message: string | null) => void;

type Channel = { listeners: Set<Listener>; subscribed: Promise<unknown> };

/** How often the connection is asked for a sign of life: one that only listens would never see that the other end is gone. */
const pingEveryMs = 5_000;

/** Channels in one command when all are subscribed again. */
const portion = 1_000;

export class Subscriber {
  readonly #redis: Redis;
  readonly #channels = new Map<string, Channel>();

  /** Takes the connection for itself; made with `connectRedis`, which leaves subscribing again to us and drops a silent one. */
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
    const pinging = setInterval(() => {
      if (redis.status === "ready") redis.ping().catch(() => {});
    }, pingEveryMs).unref();
    redis.once("end", () => clearInterval(pinging));
  }

  /** Whether messages can arrive just now. */
  get isReady(): boolean {
    return this.#redis.status === "ready";
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
    const redis = this.#redis;
    const names = [...this.#channels.keys()];
    try {
      // All are sent before anything else can be, so that a channel left meanwhile is not subscribed after that.
      const sent = [];
      for (let i = 0; i < names.length; i += portion) {
        sent.push(redis.subscribe(...names.slice(i, i + portion)));
      }
      await Promise.all(sent);
    } catch {
      // Lost again, and the next "ready" repeats this; or only slow, and then it has to be lost.
      if (redis.status === "ready") redis.disconnect(true);
      return;
    }
    for (const name of names) {
      for (const listener of this.#channels.get(name)?.listeners ?? []) listener(null);
    }
  }
}
