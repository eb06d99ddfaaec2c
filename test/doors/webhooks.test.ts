// What the courier really sends, read by those who would receive it: each of these checks the signature with code of its own.
import { verifyWebhook } from "@glimpse/client/webhook";
import { endpointWithSecret } from "@glimpse/contracts";
import OpenAI from "openai";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { z } from "zod";
import { startBench } from "../delivery/run.ts";
import type { Received } from "../support/sink.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let bench: Awaited<ReturnType<typeof startBench>>;
let secret: string;
beforeAll(async () => {
  bench = await startBench(inject("redisUrl"));
  const response = await fetch(`${bench.system.url}/v1/webhook-endpoints`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ url: `${bench.sink.url}/hook`, events: ["job.succeeded"] }),
  });
  secret = endpointWithSecret.parse(await response.json()).secret;
});
afterAll(() => bench.stop());

type Reader = (sent: Received, key: string) => unknown;
const readers: [string, Reader][] = [
  ["openai", ({ text, headers }, key) => openAi.webhooks.unwrap(text, headers, key)],
  ["standardwebhooks", ({ text, headers }, key) => new Webhook(key).verify(text, headers)],
  ["our own client", ({ text, headers }, key) => verifyWebhook(text, headers, key)],
];
const openAi = new OpenAI({ apiKey: "unused" });
const otherSecret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

test.each(readers)(
  "%s takes a delivery, and no altered one or other secret",
  async (_who, read) => {
    const known = bench.sink.received.length;
    const { id } = await bench.client.submit({ prompt: "count 3 every 0" });
    await expect.poll(() => bench.sink.received.length, { timeout: 20_000 }).toBeGreaterThan(known);
    const sent = bench.sink.received[known]!;
    const message = z.object({ type: z.string(), data: z.looseObject({ id: z.string() }) });
    const said = message.parse(await read(sent, secret));
    expect([said.type, said.data.id]).toEqual(["job.succeeded", id]);
    const outcome = async (one: Received, key: string) => read(one, key);
    await expect(outcome({ ...sent, text: `${sent.text} ` }, secret)).rejects.toThrow(/sign/i);
    await expect(outcome(sent, otherSecret)).rejects.toThrow(/sign/i);
  },
);
