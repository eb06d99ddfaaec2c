// Webhooks through the whole system: what becomes of each kind of receiver, and what tenants can see and do about it.
import type { Delivery } from "@glimpse/contracts";
import { delivery, deliveryList, endpointWithSecret, webhookEndpoint } from "@glimpse/contracts";
import { setTimeout as sleep } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { startSink } from "../support/sink.ts";
import { cases } from "./behaviours.ts";
import { deliveriesOf, runCases, secret, settled, startBench } from "./run.ts";

vi.setConfig({ testTimeout: 60_000 });

let bench: Awaited<ReturnType<typeof startBench>>;
beforeAll(async () => {
  bench = await startBench(inject("redisUrl"));
});
afterAll(() => bench.stop());

const quick = { prompt: "count 3 every 0" };
const url = (path: string) => `${bench.sink.url}${path}`;

async function call(method: string, path: string, body?: object): Promise<Response> {
  return fetch(`${bench.system.url}${path}`, {
    method,
    ...(body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
  });
}

async function createEndpoint(body: object) {
  const response = await call("POST", "/v1/webhook-endpoints", body);
  expect(response.status).toBe(201);
  return endpointWithSecret.parse(await response.json());
}

async function until<T>(read: () => Promise<T>, passes: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await read();
    if (passes(value)) return value;
    await sleep(30);
  }
}

const read = async (id: string) =>
  delivery.parse(await (await call("GET", `/v1/webhook-deliveries/${id}`)).json());
const isSettled = ({ state }: Delivery) => state !== "pending";

test("each kind of receiver gets what is said of it", async () => {
  const outcomes = await runCases(bench);
  expect(outcomes.filter(({ wrong }) => wrong.length > 0)).toEqual([]);
  expect(outcomes).toHaveLength(cases.length);
  expect(cases.length).toBeGreaterThanOrEqual(25);
});

test("a job's webhook is told what it asked to be told, in messages that can be put in order", async () => {
  const events = ["job.running", "job.delta", "job.succeeded"];
  const webhook = { url: url("/all"), secret, events, payload: "full" };
  const { id } = await bench.client.submit({ prompt: "count 30 every 50", webhook });
  const messages = () => bench.sink.at("/all").map(({ message }) => message);
  await until(
    async () => messages(),
    (all) => all.some(({ type }) => type === "job.succeeded"),
  );
  const all = messages().toSorted((a, b) => (a.event ?? 0) - (b.event ?? 0));
  expect(new Set(all.map(({ type }) => type))).toEqual(new Set(events));
  expect(all[0]).toMatchObject({ type: "job.running", data: { id, state: "running" } });
  const pieces = all.filter(({ type }) => type === "job.delta");
  // A second and a half of pieces, told twice a second at most.
  expect(pieces.length).toBeGreaterThanOrEqual(2);
  expect(pieces.length).toBeLessThanOrEqual(4);
  const whole = Array.from({ length: 30 }, (_, i) => `${i} `).join("");
  expect(whole).toContain(pieces.map(({ data }) => data.text).join(""));
  expect(all.at(-1)).toMatchObject({
    type: "job.succeeded",
    payload: "full",
    data: { id, state: "succeeded", output: { text: whole } },
  });
});

test("canceled and expired jobs are told of as well; what was not asked for is not", async () => {
  const canceled = await bench.client.submit({
    prompt: "count 100 every 50",
    webhook: { url: url("/canceled"), secret },
  });
  await bench.client.cancel(canceled.id);
  const expired = await bench.client.submit({
    prompt: "count 100 every 50",
    deadline_ms: 300,
    webhook: { url: url("/expired"), secret },
  });
  const failed = { url: url("/failed"), secret, events: ["job.failed"] };
  const silent = await bench.client.submit({ ...quick, webhook: failed });
  expect(await settled(bench, canceled.id)).toMatchObject({ type: "job.canceled" });
  expect(await settled(bench, expired.id)).toMatchObject({ type: "job.expired" });
  expect(bench.sink.at("/canceled")[0]?.message.data).toMatchObject({ state: "canceled" });
  await bench.client.poll(silent.id);
  expect(await deliveriesOf(bench, silent.id)).toEqual([]);
});

test("an answer that would be too long is left out, and the message says so", async () => {
  const webhook = { url: url("/long"), secret, payload: "full" };
  const { id } = await bench.client.submit({ prompt: "count 1000 every 0", webhook });
  await settled(bench, id);
  const [{ message, text } = { message: null, text: "" }] = bench.sink.at("/long");
  expect(message).toMatchObject({ payload: "thin", data: { id, state: "succeeded" } });
  expect(message?.data).not.toHaveProperty("output");
  expect(Buffer.byteLength(text)).toBeLessThan(4_000);
});

test("endpoints: told of every job, signed by both secrets while they change, disabled by 410", async () => {
  const path = "/endpoint";
  const made = await createEndpoint({ url: url(path), events: ["job.succeeded"] });
  const job = await bench.client.submit(quick);
  expect(await settled(bench, job.id)).toMatchObject({ endpoint: made.id, state: "delivered" });

  const rotation = await call("POST", `/v1/webhook-endpoints/${made.id}/rotate-secret`, {});
  const rotated = endpointWithSecret.parse(await rotation.json());
  const ping = await call("POST", `/v1/webhook-endpoints/${made.id}/ping`);
  const pinged = delivery.parse(await ping.json());
  await until(() => read(pinged.id), isSettled);
  const { headers = {}, text = "" } = bench.sink.at(path).at(-1) ?? {};
  expect(headers["webhook-signature"]?.split(" ")).toHaveLength(2);
  for (const one of [made.secret, rotated.secret])
    expect(new Webhook(one).verify(text, headers)).toMatchObject({ type: "ping" });
  expect(() => new Webhook(secret).verify(text, headers)).toThrow("No matching signature");
  expect(() => new Webhook(rotated.secret).verify(`${text} `, headers)).toThrow(
    "No matching signature",
  );

  bench.sink.behave(path, (answer) => void answer.writeHead(410).end());
  const gone = await bench.client.submit(quick);
  expect(await settled(bench, gone.id)).toMatchObject({ state: "dead", reason: "gone" });
  const readEndpoint = async () =>
    webhookEndpoint.parse(await (await call("GET", `/v1/webhook-endpoints/${made.id}`)).json());
  expect(await readEndpoint()).toMatchObject({ state: "disabled", disabled_reason: "gone" });
  const untold = await bench.client.submit(quick);
  await bench.client.poll(untold.id);
  expect(await deliveriesOf(bench, untold.id)).toEqual([]);
  expect((await call("POST", `/v1/webhook-endpoints/${made.id}/ping`)).status).toBe(409);

  // Enabled again, what died meanwhile is sent again under the same id: one, and a range.
  bench.sink.behave(path, (answer) => void answer.writeHead(200).end());
  await call("PATCH", `/v1/webhook-endpoints/${made.id}`, { state: "enabled" });
  const dead = deliveryList.parse(
    await (await call("GET", "/v1/webhook-deliveries?state=dead")).json(),
  );
  const [died] = dead.data.filter(({ endpoint }) => endpoint === made.id);
  const range = { since: new Date(Date.now() - 60_000).toISOString() };
  const replay = await call("POST", `/v1/webhook-endpoints/${made.id}/replay`, range);
  expect(await replay.json()).toEqual({ replayed: 1 });
  const again = await until(() => read(died?.id ?? ""), isSettled);
  expect(again).toMatchObject({ state: "delivered", tries: [{ status: 410 }, { status: 200 }] });
  expect((await call("POST", `/v1/webhook-deliveries/${died?.id}/replay`)).status).toBe(202);
  await until(
    () => read(died?.id ?? ""),
    (one) => isSettled(one) && one.tries.length === 3,
  );
  const ids = bench.sink.at(path).map(({ headers: { "webhook-id": id } }) => id);
  expect(ids.filter((id) => id === died?.id)).toHaveLength(3);
  await call("DELETE", `/v1/webhook-endpoints/${made.id}`);
});

test("an address that is inside when it is used is not called, whatever it was when it was said", async () => {
  const inside = await startSink("127.0.0.2");
  // This API lets it through; the courier, asked at each try, does not.
  const lax = await bench.system.startApi({ OUTBOUND_ALLOW: "127.0.0.0/8" });
  const webhook = { url: inside.url, secret };
  const refused = await call("POST", "/v1/jobs", { ...quick, webhook });
  expect([refused.status, (await refused.json()) as object]).toMatchObject([
    422,
    { code: "invalid_webhook_url", param: "webhook.url" },
  ]);
  const response = await fetch(`${lax.url}/v1/jobs`, {
    method: "POST",
    body: JSON.stringify({ ...quick, webhook }),
    headers: { "Content-Type": "application/json" },
  });
  const { id } = (await response.json()) as { id: string };
  const { state, tries } = await settled(bench, id);
  expect(state).toBe("dead");
  expect(new Set(tries.map(({ error }) => error))).toEqual(new Set(["not_allowed"]));
  expect(inside.connections()).toBe(0);
  await inside.close();
});

test("one receiver that hangs does not hold up others", async () => {
  bench.sink.behave("/hung", () => {});
  const hung = { url: url("/hung"), secret };
  for (let i = 0; i < 40; i++) await bench.client.submit({ ...quick, webhook: hung });
  const healthy = await bench.client.submit({ ...quick, webhook: { url: url("/well"), secret } });
  expect(await settled(bench, healthy.id, 5_000)).toMatchObject({ state: "delivered" });
  const waiting = await call("GET", "/v1/webhook-deliveries?state=pending&limit=100");
  expect(deliveryList.parse(await waiting.json()).data.length).toBeGreaterThan(0);
});
