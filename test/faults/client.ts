/** Clients that do not give up: they submit until they are told an id, and read on until the job's end, at whatever API answers. */
import { setTimeout as sleep } from "node:timers/promises";
import type { JobEvent, JobState } from "@glimpse/contracts";
import { endsLog, job, problem } from "@glimpse/contracts";
import { createClient } from "../support/client.ts";
import type { Random } from "../support/random.ts";
import type { Entry } from "./checker.ts";

export type Order = { key: string; prompt: string; text: string; ends?: JobState[]; body?: object };

/** What a scripted engine is asked to say, and the answer it gives. */
export function count(words: number, everyMs: number): { prompt: string; text: string } {
  return {
    prompt: `count ${words} every ${everyMs}`,
    text: Array.from({ length: words }, (_, i) => `${i} `).join(""),
  };
}

const answerWithinMs = 10_000;

const post = (url: string, headers: Record<string, string>, body: object = {}) =>
  fetch(url, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...headers },
    signal: AbortSignal.timeout(answerWithinMs),
  });

export function createClients(urls: string[], random: Random) {
  const history: Entry[] = [];
  const refusals = new Map<number, number>();
  let slowestMs = 0;

  /** One try. The id; or how long to wait before the next, when the job was refused or nobody can tell. */
  async function attempt({
    key,
    prompt,
    body,
  }: Order): Promise<{ id: string } | { waitMs: number }> {
    const startedAt = performance.now();
    let response: Response;
    let answer: unknown;
    try {
      const url = `${random.pick(urls)}/v1/jobs`;
      response = await post(
        url,
        { "Idempotency-Key": key },
        { prompt, metadata: { key }, ...body },
      );
      answer = await response.json();
    } catch {
      return { waitMs: 50 }; // Dead, refused, or the answer was lost on its way.
    }
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    if (response.ok) return { id: job.parse(answer).id };
    const { code, retryable } = problem.parse(answer);
    const retryAfter = response.headers.get("retry-after");
    if (!retryable || retryAfter === null)
      throw new Error(`${key} was refused for good: ${response.status} ${code}`);
    refusals.set(response.status, (refusals.get(response.status) ?? 0) + 1);
    return { waitMs: Math.min(Number(retryAfter) * 1_000, 1_000) };
  }

  return {
    history,
    refusals,
    slowestMs: () => slowestMs,

    /** Submits until the job is acknowledged. Throws when it is refused for good, or after `withinMs`. */
    async submit(order: Order, withinMs = 120_000): Promise<string> {
      const { key, text, ends = ["succeeded"] } = order;
      history.push({ type: "attempted", key, text, ends });
      const until = Date.now() + withinMs;
      while (Date.now() < until) {
        const result = await attempt(order);
        if ("id" in result) {
          history.push({ type: "acknowledged", key, id: result.id });
          return result.id;
        }
        await sleep(result.waitMs);
      }
      throw new Error(`${key} was not accepted within ${withinMs} ms`);
    },

    /** Cancels the job, until an API says that it has, or that there is none. */
    async cancel(id: string, withinMs = 120_000): Promise<void> {
      const until = Date.now() + withinMs;
      while (Date.now() < until) {
        const url = `${random.pick(urls)}/v1/jobs/${id}/cancel`;
        const response = await post(url, {}).catch(() => null);
        await response?.body?.cancel();
        if (response?.ok || response?.status === 404) return;
        await sleep(50);
      }
      throw new Error(`${id} could not be canceled within ${withinMs} ms`);
    },

    /** Reads the job's events to its end, coming back after each cut with the number of the last one. */
    async follow(id: string, withinMs = 120_000): Promise<JobEvent[]> {
      const events: JobEvent[] = [];
      const until = Date.now() + withinMs;
      const ended = () => events.some(endsLog);
      while (!ended() && Date.now() < until) {
        try {
          const after = events.at(-1)?.id ?? -1;
          for await (const event of createClient(random.pick(urls)).events(id, after))
            if (event.type !== "gap") events.push(event);
        } catch {
          // Cut off: another API, from the same event on.
        }
        await sleep(50);
      }
      history.push({ type: "delivered", id, events });
      return events;
    },
  };
}
