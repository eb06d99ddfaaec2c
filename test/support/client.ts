/** The API as a client sees it. Every answer is held to its schema. */
import type { Gap, Job, JobEvent } from "@glimpse/contracts";
import { gap, isTerminal, job, jobEvent } from "@glimpse/contracts";

/** Throws with what was answered if that is no job. */
async function jobOf(response: Response): Promise<Job> {
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return job.parse(await response.json());
}

export function createClient(url: string) {
  const post = (path: string, body: unknown) =>
    fetch(`${url}${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json" },
    });
  return {
    post,
    submit: async (body: unknown) => jobOf(await post("/v1/jobs", body)),
    infer: async (body: unknown) => jobOf(await post("/v1/infer", body)),
    read: async (id: string, waitS = 0) => jobOf(await fetch(`${url}/v1/jobs/${id}?wait=${waitS}`)),
    /** Polls until the job has ended. */
    async poll(id: string): Promise<Job> {
      for (;;) {
        const found = await this.read(id);
        if (isTerminal(found.state)) return found;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    async cancel(id: string): Promise<Job> {
      return jobOf(await fetch(`${url}/v1/jobs/${id}/cancel`, { method: "POST" }));
    },
    /** The events after number `after`, until the stream ends or the reader leaves. */
    async *events(id: string, after = -1): AsyncGenerator<JobEvent | Gap> {
      const headers = after < 0 ? {} : { "Last-Event-ID": `${after}` };
      const response = await fetch(`${url}/v1/jobs/${id}/events`, { headers });
      if (response.status === 204) return;
      if (!response.ok || response.body === null) throw new Error(`${response.status}`);
      let text = "";
      for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
        const frames = `${text}${part}`.split("\n\n");
        text = frames.pop() ?? "";
        for (const frame of frames) {
          const data = /^data: (.*)$/m.exec(frame)?.[1];
          if (data !== undefined) yield jobEvent.or(gap).parse(JSON.parse(data));
        }
      }
    },
  };
}
