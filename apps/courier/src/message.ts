/** What is said of an event. Pure: knows jobs and the shape of messages, neither Redis nor HTTP. */
import type { Job, KeptWebhook, LogEvent, WebhookMessage } from "@glimpse/contracts";
import { isTerminal } from "@glimpse/contracts";

/** What has happened; `event` is its number in the job's log. The job is null when it is gone already. */
export type JobNews = { id: string; state: string; event: number; job: Job | null };

type Payload = KeptWebhook["payload"];

/** The message as JSON, at most `maxBytes` long: what does not fit is left out, the answer first, then the metadata. */
export function messageOf(news: JobNews, payload: Payload, maxBytes: number): string {
  const full = JSON.stringify(jobMessage(news, payload));
  if (fits(full, maxBytes)) return full;
  const thin = JSON.stringify(jobMessage(news, "thin"));
  if (fits(thin, maxBytes)) return thin;
  const message = jobMessage(news, "thin");
  return JSON.stringify({ ...message, data: { ...message.data, metadata: undefined } });
}

/** A piece of the answer: what the log has from event `from` to `to`. */
export function piecesMessage(
  job: { id: string; attempt: number },
  { from, to }: { from: number; to: number },
  events: LogEvent[],
): WebhookMessage {
  const textOf = (type: string) =>
    events.map((event) => (event.type === type ? String(event.text) : "")).join("");
  return {
    type: "job.delta",
    timestamp: new Date(events.at(-1)?.at_ms ?? Date.now()).toISOString(),
    payload: "thin",
    event: to,
    data: {
      ...job,
      object: "job",
      from,
      to,
      text: textOf("delta"),
      reasoning: textOf("reasoning"),
    },
  };
}

/** `data` is JSON, said by whoever announced it. */
export function noticeMessage(type: string, data: string): string {
  return JSON.stringify({
    type,
    timestamp: new Date().toISOString(),
    payload: "thin",
    event: null,
    data: JSON.parse(data),
  });
}

function jobMessage({ id, state, event, job }: JobNews, payload: Payload): WebhookMessage {
  const type = `job.${state}`;
  const isEnd = isTerminal(state);
  const at = (isEnd ? job?.finished_at : job?.started_at) ?? new Date().toISOString();
  const common = { type, timestamp: at, event } as const;
  if (job === null) return { ...common, payload: "thin", data: { id, object: "job", state } };
  if (!isEnd) {
    const { object, model, version, created_at, started_at, attempt, metadata, links } = job;
    const begun = { id, object, state, model, version, created_at, started_at };
    return { ...common, payload: "thin", data: { ...begun, attempt, metadata, links } };
  }
  const { output, ...rest } = job;
  return {
    ...common,
    payload,
    data: { ...rest, queue: undefined, ...(payload === "full" && { output }) },
  };
}

const fits = (text: string, maxBytes: number) => Buffer.byteLength(text) <= maxBytes;
