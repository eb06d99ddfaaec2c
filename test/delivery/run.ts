/** Webhooks through the whole system: what becomes of them with each behaviour, how soon they come, and what one that hangs costs others. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Delivery } from "@glimpse/contracts";
import { deliveryList } from "@glimpse/contracts";
import { Webhook } from "standardwebhooks";
import { createClient } from "../support/client.ts";
import type { Sink } from "../support/sink.ts";
import { startSink } from "../support/sink.ts";
import type { System } from "../support/system.ts";
import { startSystem } from "../support/system.ts";
import type { Case } from "./behaviours.ts";
import { cases, courierEnv } from "./behaviours.ts";

export const secret = `whsec_${Buffer.from("a secret that only tests know of").toString("base64")}`;

export type Bench = { system: System; sink: Sink; client: ReturnType<typeof createClient> };

/** The system, with workers that answer at once, and a sink. */
export async function startBench(redisUrl: string, env: Record<string, string> = {}) {
  const sink = await startSink();
  const system = await startSystem({
    redisUrl,
    engine: "scripted",
    env: { SLOTS: "16", ...courierEnv, ...env },
  });
  const client = createClient(system.url);
  return {
    system,
    sink,
    client,
    async stop(): Promise<void> {
      await system.stop();
      await sink.close();
    },
  };
}

/** The deliveries of a job, from the API. */
export async function deliveriesOf({ system }: Bench, job: string): Promise<Delivery[]> {
  const response = await fetch(`${system.url}/v1/jobs/${job}/deliveries`);
  return deliveryList.parse(await response.json()).data;
}

/** The job's only delivery, once it is settled. */
export async function settled(bench: Bench, job: string, withinMs = 30_000): Promise<Delivery> {
  const until = Date.now() + withinMs;
  for (;;) {
    const [delivery, ...others] = await deliveriesOf(bench, job);
    if (others.length > 0) throw new Error(`${job} has ${others.length + 1} deliveries`);
    if (delivery !== undefined && delivery.state !== "pending") return delivery;
    if (Date.now() > until) throw new Error(`${job}: ${JSON.stringify(delivery)}`);
    await sleep(50);
  }
}

export type Outcome = { name: string; tries: number; state: string; wrong: string[] };

/** Sends a webhook to each, all at once, and holds what became of it against what is expected. */
export async function runCases(bench: Bench): Promise<Outcome[]> {
  return Promise.all(cases.map((one, i) => runCase(bench, one, `/case-${i}`)));
}

async function runCase(bench: Bench, one: Case, path: string): Promise<Outcome> {
  const { sink, client } = bench;
  if (one.behave !== undefined) sink.behave(path, one.behave);
  const url = one.url?.(sink.url) ?? `${sink.url}${path}`;
  const job = await client.submit({ prompt: "count 1 every 0", webhook: { url, secret } });
  const delivery = await settled(bench, job.id);
  const { state, tries } = delivery;
  const wrong = [...wrongOf(delivery, one), ...wrongOfRequests(sink.at(path), delivery, one)];
  return { name: one.name, tries: tries.length, state, wrong };
}

function wrongOf({ state, reason, tries }: Delivery, { expected }: Case): string[] {
  const wrong: string[] = [];
  const expect = (what: string, is: unknown, should: unknown) => {
    if (JSON.stringify(is) !== JSON.stringify(should))
      wrong.push(`${what}: ${JSON.stringify(is)}, not ${JSON.stringify(should)}`);
  };
  expect("state", state, expected.state);
  expect("reason", reason, expected.reason ?? null);
  expect(
    "statuses",
    tries.map(({ status }) => status),
    expected.statuses,
  );
  const failed = tries.filter(({ error }) => error !== null);
  if (expected.error !== undefined) expect("error", failed.at(-1)?.error, expected.error);
  const [first, second] = tries.map(({ at }) => Date.parse(at));
  if (expected.secondAfterMs !== undefined && (second ?? 0) - (first ?? 0) < expected.secondAfterMs)
    wrong.push(`the second try came after ${(second ?? 0) - (first ?? 0)} ms`);
  if (tries.some(({ answer }) => answer.length > 512)) wrong.push("too much of an answer is kept");
  return wrong;
}

/** Every request is signed, names the delivery, and is one of its tries. */
function wrongOfRequests(requests: Sink["received"], delivery: Delivery, { url }: Case): string[] {
  const wrong: string[] = [];
  if (url === undefined && requests.length !== delivery.tries.length)
    wrong.push(`${requests.length} requests, ${delivery.tries.length} tries`);
  const ids = new Set(requests.map(({ headers }) => headers["webhook-id"]));
  if (ids.size > 1) wrong.push(`${ids.size} ids`);
  for (const { headers, text } of requests) {
    if (headers["webhook-id"] !== delivery.id) wrong.push(`id ${headers["webhook-id"]}`);
    try {
      new Webhook(secret).verify(text, headers);
    } catch (error) {
      wrong.push(`signature: ${String(error)}`);
    }
  }
  return wrong;
}

/** Milliseconds from each job's end to its webhook's arrival at `path`, while `perSecond` jobs come for `seconds`, half of them with a webhook to `otherPath`. */
export async function arrivals(
  { client, sink }: Bench,
  {
    path,
    otherPath,
    perSecond,
    seconds,
  }: Record<"path" | "otherPath", string> & Record<"perSecond" | "seconds", number>,
): Promise<number[]> {
  const before = sink.at(path).length;
  const submitting: Promise<unknown>[] = [];
  const startedAt = performance.now();
  const jobs = perSecond * seconds;
  for (let i = 0; i < jobs; i++) {
    const url = `${sink.url}${i % 2 === 0 ? path : otherPath}`;
    submitting.push(client.submit({ prompt: "count 1 every 0", webhook: { url, secret } }));
    await sleep(Math.max(0, startedAt + ((i + 1) * 1_000) / perSecond - performance.now()));
  }
  await Promise.all(submitting);
  const wanted = before + Math.ceil(jobs / 2);
  const until = Date.now() + 10_000;
  while (sink.at(path).length < wanted && Date.now() < until) await sleep(20);
  return sink
    .at(path)
    .slice(before)
    .map(({ atMs, message }) => atMs - Date.parse(message.timestamp));
}

/** The value below which the share `p` of them is. */
export function percentile(values: number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * p) - 1)] ?? Number.NaN;
}
