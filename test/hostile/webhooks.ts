/**
 * Webhooks as a weapon. I32: against what is inside, by names that lead outside when they are said and inside when they are
 * used. I34: against receivers, who are sent what we have not sent, or not so, or not now.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { deliveryList, endpointWithSecret, job } from "@glimpse/contracts";
import { startCanaries } from "@glimpse/outbound/testing";
import { Webhook } from "standardwebhooks";
import { startDnsServer } from "../support/dns-server.ts";
import type { Sink } from "../support/sink.ts";
import { startSink } from "../support/sink.ts";
import { outsideAddress, startOutside } from "./outside.ts";
import type { Message, Receiver } from "./receivers.ts";
import { clientReceiver, sampleReceiver } from "./receivers.ts";
import type { Answer, Part, Row, Stage, Target } from "./rows.ts";

const secretOf = (text: string) => `whsec_${Buffer.from(text.padEnd(32, ".")).toString("base64")}`;
const secret = secretOf("ours");
const otherSecret = secretOf("another");
const limitMs = 15_000;

const inside = ["127.0.0.1", "::1", "::ffff:7f00:1", "169.254.169.254", "10.0.0.1", "fd00::1"];
const ways = ["job", "endpoint"] as const;
const name = (way: string, i: number) => `${way}-${i}.test`;
const zone = Object.fromEntries(
  ways.flatMap((way) => inside.map((to, i) => [name(way, i), [[outsideAddress], [to]]])),
);

const ask = { prompt: "?", options: { max_tokens: 1 } };

/** The answer to a question about deliveries, once all that it tells of are settled. */
async function settled(target: Target, path: string): Promise<Answer> {
  const until = Date.now() + limitMs;
  for (;;) {
    const answer = await target.request(path);
    const { data } = deliveryList.parse(JSON.parse(answer.body));
    if (data.length > 0 && data.every(({ state }) => state !== "pending")) return answer;
    if (Date.now() > until) throw new Error(`not settled: ${answer.body}`);
    await sleep(50);
  }
}

async function tellOfJob(target: Target, url: string): Promise<Answer> {
  const { body } = await target.post("/v1/jobs", { ...ask, webhook: { url, secret } });
  return settled(target, `/v1/jobs/${job.parse(JSON.parse(body)).id}/deliveries`);
}

async function tellEndpoint(target: Target, url: string): Promise<Answer> {
  const { body } = await target.post("/v1/webhook-endpoints", {
    url,
    secret,
    events: ["job.failed"],
  });
  const path = `/v1/webhook-endpoints/${endpointWithSecret.parse(JSON.parse(body)).id}`;
  await target.post(`${path}/ping`, {});
  return settled(target, `${path}/deliveries`);
}

const tell = { job: tellOfJob, endpoint: tellEndpoint };

/** Every try must have failed so; null for the one that is to succeed. */
const failsAs = (error: string | null) => (answer: Answer) => {
  const [found] = deliveryList.parse(JSON.parse(answer.body)).data;
  const errors = found?.tries.map((one) => one.error) ?? [];
  const right = errors.length > 0 && errors.every((one) => one === error);
  return right ? null : `tries ended with ${errors.join()}, not ${error}`;
};

function atSending(port: number, redirect: string, sink: Sink): Row[] {
  return ways.flatMap((way): Row[] => {
    const row = (what: string, url: string, error: string | null): Row => ({
      id: "I32",
      name: `${way}: ${what}`,
      send: (target) => tell[way](target, url),
      status: 200,
      check: failsAs(error),
    });
    return [
      row("a host outside", `${sink.url}/${way}`, null),
      row("a redirect inside", redirect, "redirect"),
      ...inside.map((to, i) =>
        row(`a name that becomes ${to}`, `http://${name(way, i)}:${port}/`, "not_allowed"),
      ),
    ];
  });
}

function signed(text: string, secondsAgo: number, by = secret): Message {
  const id = "dlv_0_forged";
  const at = new Date(Date.now() - secondsAgo * 1_000);
  const signature = new Webhook(by).sign(id, at, text);
  const stamp = String(Math.floor(at.getTime() / 1_000));
  const headers = { "webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": signature };
  return { text, headers };
}

type Forgery = [what: string, forge: (genuine: Message) => Message];

const withHeader =
  (header: string, change: (value: string) => string) =>
  ({ text, headers }: Message): Message => ({
    text,
    headers: { ...headers, [header]: change(headers[header] ?? "") },
  });
const without =
  (header: string) =>
  ({ text, headers }: Message): Message => ({
    text,
    headers: Object.fromEntries(Object.entries(headers).filter(([one]) => one !== header)),
  });

const forgeries: Forgery[] = [
  ["another state", (one) => ({ ...one, text: one.text.replace("succeeded", "canceled") })],
  ["a space more", (one) => ({ ...one, text: `${one.text} ` })],
  [
    "the same JSON, spaced",
    (one) => ({ ...one, text: JSON.stringify(JSON.parse(one.text), null, 1) }),
  ],
  ["no body", (one) => ({ ...one, text: "" })],
  ["another id, to be acted on again", withHeader("webhook-id", (id) => `${id}0`)],
  ["a fresher time", withHeader("webhook-timestamp", (time) => String(Number(time) + 1))],
  ["a time that is none", withHeader("webhook-timestamp", () => "now")],
  ["no signature", without("webhook-signature")],
  ["no id", without("webhook-id")],
  ["no time", without("webhook-timestamp")],
  ["an empty signature", withHeader("webhook-signature", () => "v1,")],
  ["half a signature", withHeader("webhook-signature", (text) => text.slice(0, 20))],
  [
    "a signature of another kind",
    withHeader("webhook-signature", (text) => text.replace("v1,", "v2,")),
  ],
  ["genuine once, six minutes ago", ({ text }) => signed(text, 360)],
  ["from six minutes ahead", ({ text }) => signed(text, -360)],
  ["signed by another secret", ({ text }) => signed(text, 0, otherSecret)],
];

/** Rows for one receiver; each begins with what our courier has really sent to the sink. */
function atReceiver(receiver: Receiver, sink: Sink): Row[] {
  const sent = (nth: number, path = "/job") => {
    const message = sink.at(path)[nth];
    if (message === undefined) throw new Error(`nothing came to ${path}`);
    return message;
  };
  const row = (
    what: string,
    takes: boolean,
    message: (target: Target) => Promise<Message> | Message,
  ): Row => ({
    id: "I34",
    name: `${receiver.name}: ${what}`,
    async send(target) {
      const taken = await receiver.take(await message(target));
      return { status: 200, headers: new Headers(), body: String(taken) };
    },
    status: 200,
    check: ({ body }) => (body === String(takes) ? null : takes ? "is refused" : "is taken"),
  });
  const path = `/rotated-${receiver.name.replace(" ", "-")}`;
  return [
    row("what was sent", true, () => sent(0)),
    row("the same again", true, () => sent(0)),
    row("sent again by us", true, async (target) => {
      const before = sink.at("/job").length;
      await target.post(`/v1/webhook-deliveries/${sent(0).headers["webhook-id"]}/replay`, {});
      for (const until = Date.now() + limitMs; sink.at("/job").length === before; await sleep(20))
        if (Date.now() > until) throw new Error("was not sent again");
      return sent(before);
    }),
    ...forgeries.map(([what, forge]) => row(what, false, () => forge(sent(0)))),
    row("an endpoint whose secret was replaced", false, async (target) => {
      const url = `${sink.url}${path}`;
      const { body } = await target.post("/v1/webhook-endpoints", { url, secret });
      const at = `/v1/webhook-endpoints/${endpointWithSecret.parse(JSON.parse(body)).id}`;
      await target.post(`${at}/rotate-secret`, { secret: otherSecret, overlap_s: 0 });
      await target.post(`${at}/ping`, {});
      await settled(target, `${at}/deliveries`);
      await target.request(at, { method: "DELETE" });
      return sent(0, path);
    }),
  ];
}

export const webhooks: Part = {
  name: "webhooks",
  async prepare(): Promise<Stage> {
    const canaries = await startCanaries();
    const outside = await startOutside(canaries.port);
    const dns = await startDnsServer(zone);
    const sink = await startSink(outsideAddress);
    const receivers = [clientReceiver(secret), await sampleReceiver(secret)];
    return {
      env: {
        OUTBOUND_PORTS: "any",
        OUTBOUND_ALLOW: outsideAddress,
        OUTBOUND_DNS: dns.address,
        WEBHOOK_SCHEDULE: "0,50ms",
      },
      rows: [
        ...atSending(canaries.port, outside.to(`http://127.0.0.1:${canaries.port}/`), sink),
        ...receivers.flatMap((receiver) => atReceiver(receiver, sink)),
      ],
      findings: () => [
        ...(canaries.touched.length > 0 ? ["connections to what is inside"] : []),
        ...receivers
          .filter((receiver) => receiver.acted().length !== 1)
          .map((receiver) => `${receiver.name} acted on ${receiver.acted().join() || "nothing"}`),
      ],
      async close() {
        for (const one of [canaries, outside, dns, ...receivers]) one.close();
        await sink.close();
      },
    };
  },
};
