// Asks the running API about a sample picture, as any client would.
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { Problem } from "./settings.ts";

/** What the page at / offers, too. */
const folder = join(import.meta.dirname, "..", "apps/api/public/samples");

type Sample = { file: string; question: string; answer: string };
type Job = {
  state: string;
  output: { text: string } | null;
  error: { code: string; message: string } | null;
  timings: { total_ms: number | null };
};

/** The first sample's question, the model's answer to it and how long that took. */
export async function askSample(
  url: string,
): Promise<{ path: string; question: string; answer: string; totalMs: number }> {
  const samples = JSON.parse(await readFile(join(folder, "samples.json"), "utf8")) as Sample[];
  const [sample] = samples;
  if (!sample) throw new Error("samples.json lists no sample");
  const path = join(folder, sample.file);
  const form = new FormData();
  form.set("prompt", sample.question);
  form.set("image", new Blob([await readFile(path)], { type: "image/png" }), sample.file);
  const response = await fetch(`${url}/v1/infer`, { method: "POST", body: form });
  const job = (await response.json()) as Job;
  if (job.state !== "succeeded" || !job.output) {
    const why = job.error ? `${job.error.code}: ${job.error.message}` : `HTTP ${response.status}`;
    throw new Problem(`The sample was not answered (${why}).`);
  }
  return {
    path,
    question: sample.question,
    answer: job.output.text,
    totalMs: job.timings.total_ms ?? 0,
  };
}

/** A line for a shell in `cwd` that asks the same again. */
export function curlLine(url: string, path: string, question: string, cwd: string): string {
  const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  return `curl -s ${url}/v1/infer -F image=@${quote(relative(cwd, path))} -F prompt=${quote(question)}`;
}
