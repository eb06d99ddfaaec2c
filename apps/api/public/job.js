// The page's way to the API: submit, follow, cancel. Knows nothing of the page.
import { readKey } from "./key.js";

/** A refusal in plain words, with its stable code. */
export class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const unreachable = new Refusal(
  "unreachable",
  "The API does not answer. Check that it is running, then ask again.",
);

async function call(url, init) {
  const key = readKey();
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response;
  try {
    response = await fetch(url, { ...init, headers });
  } catch {
    throw unreachable;
  }
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  throw new Refusal(
    body?.code ?? `http_${response.status}`,
    body?.detail ?? "The API refused, and did not say why.",
  );
}

/** Starts a job about one picture (a Blob) and returns it as accepted. */
export function submit(blob, name, prompt, thinking) {
  const form = new FormData();
  form.set("image", blob, name);
  form.set("prompt", prompt);
  form.set("options", JSON.stringify({ thinking }));
  return call("/v1/jobs", { method: "POST", body: form });
}

/** Asks for the job's end; its log says when that has come. */
export function cancel(job) {
  return call(job.links.cancel, { method: "POST" });
}

/** Where the job's events are: EventSource cannot send a key, so that one needs a signed link. */
async function eventsOf(job) {
  if (!readKey()) return job.links.events;
  const links = await call(`${job.links.self}/links`, { method: "POST" });
  return links.events;
}

/** What is missing before questions are answered, and the versions that answer: `{missing, versions}`. */
export async function readiness() {
  const response = await fetch("/ready");
  const { missing, workers } = await response.json();
  return { missing, versions: [...new Set(workers.map((worker) => worker.version))] };
}

const eventTypes = ["queued", "running", "reset", "reasoning", "delta", "gap"];
const terminalTypes = ["succeeded", "failed", "canceled", "expired"];

/**
 * Follows a job's log to its end. The browser reconnects by itself and resumes after the last event
 * it got; when it gives up, the job itself is read. Calls `onEvent(event)` once for each event, in
 * order, and `onWait()` when the connection was lost.
 */
export async function follow(job, onEvent, onWait) {
  const source = new EventSource(await eventsOf(job));
  return new Promise((resolve, reject) => {
    let last = -1;

    const finish = (settle, value) => {
      source.close();
      settle(value);
    };
    const readJob = () =>
      call(`${job.links.self}?wait=30`).then((now) => {
        if (!terminalTypes.includes(now.state)) return readJob();
        onEvent({ ...now, type: now.state });
        return finish(resolve);
      });

    const hear = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "gap") {
        source.close();
        readJob().catch((error) => finish(reject, error));
        return;
      }
      if (event.id <= last) return;
      last = event.id;
      onEvent(event);
      if (terminalTypes.includes(event.type)) finish(resolve);
    };
    for (const type of ["message", ...eventTypes, ...terminalTypes]) {
      source.addEventListener(type, hear);
    }
    source.addEventListener("error", () => {
      onWait();
      if (source.readyState === EventSource.CLOSED) readJob().catch((e) => finish(reject, e));
    });
  });
}
