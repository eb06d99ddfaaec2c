/** What is said of a job that came through Replicate's door: the prediction itself, as its clients expect. Pure. */
import type { Asked, Job, LogEvent } from "@glimpse/contracts";
import { predictionEcho, predictionId, predictionOf } from "@glimpse/contracts";

const maxBytes = 256 * 1024;

/** Whether a job's own webhook wants predictions. */
export function isPrediction(asked: Asked | null): asked is Asked {
  return asked?.door === "replicate";
}

/** The prediction as it was when it came to `state`. An answer that is too long for a message is to be asked for. */
export function predictionMessage(job: Job, asked: Asked, state: string): string {
  const then: Job =
    state === "running" ? { ...job, state, output: null, error: null, finished_at: null } : job;
  const path = `${asked.origin ?? ""}/replicate/v1/predictions/${predictionId(job.id)}`;
  const urls = { get: path, cancel: `${path}/cancel`, web: `${asked.origin ?? ""}/` };
  const prediction = predictionOf(then, predictionEcho.parse(asked.echo), urls);
  const whole = JSON.stringify(prediction);
  if (Buffer.byteLength(whole) <= maxBytes) return whole;
  return JSON.stringify({ ...prediction, output: null, data_removed: true });
}

/** The same with what the log has said so far. */
export function unfinishedPrediction(job: Job, asked: Asked, log: LogEvent[]): string {
  let text = "";
  for (const event of log) {
    if (event.type === "reset") text = "";
    if (event.type === "delta") text += String(event.text);
  }
  const running = JSON.parse(predictionMessage(job, asked, "running")) as object;
  return JSON.stringify({ ...running, output: text });
}
