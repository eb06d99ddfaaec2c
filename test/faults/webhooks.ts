/** Every job has a webhook while everything breaks: each that has ended was told of, or can be seen as undeliverable. */
import { setTimeout as sleep } from "node:timers/promises";
import { delivery as deliverySchema, deliveryState, isTerminal } from "@glimpse/contracts";
import { createRandom } from "../support/random.ts";
import type { Received } from "../support/sink.ts";
import { startSink } from "../support/sink.ts";
import { places } from "./schedule.ts";
import type { Stored } from "./checker.ts";
import type { StormOptions, StormResult } from "./storm.ts";
import { storm } from "./storm.ts";
import type { openStore } from "./stored.ts";

/** A job's deliveries as the ledger has them: which, and what became of each. */
type Kept = { id: string; state: string };

export type WebhookFindings = {
  /** Jobs that have ended. */
  ended: number;
  /** Those of which somebody was told and said that he had heard. */
  delivered: number;
  dead: number;
  /** Requests beyond the first of each message: allowed. */
  repeated: number;
  /** Ended, and neither told of nor visible as dead. */
  untold: string[];
  /** An event under two ids, an id for two events, or a job with two ends. */
  doubled: string[];
  /** Said to be delivered, and nobody got it; or told what is not so. */
  wrong: string[];
};

type Heard = Received & { accepted: boolean };

/** Between the steps of a delivery, the request itself among them. */
const diesAt: typeof places = {
  ...places,
  courier: [
    ...places.courier,
    "after xreadgroup",
    "before open_delivery",
    "after open_delivery",
    "before addStandardJob",
    "after addStandardJob",
    "before xack",
    "after moveToActive",
    "before note_try",
    "after note_try",
    "before moveToDelayed",
    "before moveToFinished",
  ],
};

const env = {
  WEBHOOK_SCHEDULE: "0,50ms,100ms,200ms,400ms,800ms,1s,1s",
  WEBHOOK_TIMEOUT_MS: "2000",
  WEBHOOK_BREAKER_MS: "100",
  WEBHOOK_BREAKER_MAX_MS: "500",
  OUTBOUND_ALLOW: "127.0.0.1",
  OUTBOUND_PORTS: "any",
};

/** As `storm`, with a webhook for every job: to receivers that are well, that fail now and then, and that always fail. */
export async function webhookStorm(
  options: Pick<
    StormOptions,
    "jobs" | "seed" | "calm" | "apis" | "workers" | "couriers" | "settleMs"
  > & {
    env?: Record<string, string>;
  },
): Promise<WebhookFindings & { storm: StormResult }> {
  const { seed, settleMs = 60_000 } = options;
  const sink = await startSink();
  const random = createRandom(seed + 3);
  const heard: Heard[] = [];
  const answers = createRandom(seed + 4);
  const paths = new Map<string, "well" | "flaky" | "down">();

  function webhookOf(key: string): object {
    const kind = random.chance(0.02) ? "down" : random.chance(0.3) ? "flaky" : "well";
    const path = kind === "down" ? `/down/${key}` : `/${kind}`;
    paths.set(path, kind);
    sink.behave(path, (answer) => {
      const accepted = kind === "well" || (kind === "flaky" && answers.chance(0.7));
      const last = sink.received.findLast((one) => one.path === path);
      if (last !== undefined) heard.push({ ...last, accepted });
      answer.writeHead(accepted ? 200 : 503).end();
    });
    return { webhook: { url: `${sink.url}${path}` } };
  }

  let stored: Stored[] = [];
  let kept = new Map<string, Kept[]>();
  try {
    const result = await storm({
      ...options,
      env: { ...env, ...options.env },
      diesAt,
      extra: webhookOf,
      async atRest(store) {
        await untilQuiet(store, settleMs);
        stored = await store.readAll();
        kept = await readDeliveries(store, stored);
      },
    });
    return { ...judge(stored, kept, heard), storm: result };
  } finally {
    await sink.close();
  }
}

/** Waits until nothing is in the outbox and no delivery is pending. */
async function untilQuiet({ redis, keys }: ReturnType<typeof openStore>, withinMs: number) {
  const until = Date.now() + withinMs;
  for (;;) {
    const [waiting, pending] = await Promise.all([
      redis.xlen(keys.outbox("0")),
      redis.zcard(keys.openDeliveries("0")),
    ]);
    if ((waiting === 0 && pending === 0) || Date.now() > until) return;
    await sleep(100);
  }
}

async function readDeliveries({ redis, keys }: ReturnType<typeof openStore>, jobs: Stored[]) {
  const all = new Map<string, Kept[]>();
  for (const { id } of jobs) {
    const ids = await redis.zrange(keys.deliveriesOf("0", "job", id), "0", "-1");
    const states = await Promise.all(ids.map((one) => redis.hget(keys.delivery(one), "state")));
    const found = ids.map((one, i) => ({
      id: deliverySchema.shape.id.parse(one),
      state: deliveryState.parse(states[i]),
    }));
    all.set(id, found);
  }
  return all;
}

/** Pure: what the ledger says of jobs and deliveries against what the receivers have heard. */
export function judge(
  jobs: Stored[],
  kept: Map<string, Kept[]>,
  heard: Pick<Heard, "headers" | "message" | "accepted">[],
): WebhookFindings {
  const ended = jobs.filter(({ state }) => isTerminal(state));
  const ofJob = Map.groupBy(heard, ({ message }) => message.data.id);
  const findings: WebhookFindings = {
    ended: ended.length,
    delivered: 0,
    dead: 0,
    repeated: 0,
    untold: [],
    doubled: [],
    wrong: [],
  };
  for (const { id, state } of ended) {
    const requests = ofJob.get(id) ?? [];
    const deliveries = kept.get(id) ?? [];
    const ids = new Set(requests.map(({ headers }) => headers["webhook-id"]));
    const accepted = requests.some((request) => request.accepted);
    const isDead = deliveries.some((one) => one.state === "dead");
    findings.delivered += accepted ? 1 : 0;
    findings.dead += isDead ? 1 : 0;
    findings.repeated += Math.max(0, requests.length - 1);
    if (!accepted && !isDead)
      findings.untold.push(`${id} is ${state}: ${JSON.stringify(deliveries)}`);
    if (ids.size > 1 || deliveries.length > 1)
      findings.doubled.push(`${id}: ${[...ids].join(" ")} ${JSON.stringify(deliveries)}`);
    if (deliveries.some((one) => one.state === "delivered") && !accepted)
      findings.wrong.push(`${id} is said to be delivered`);
    for (const { message } of requests)
      if (message.type !== `job.${state}`)
        findings.wrong.push(`${id} is ${state}: ${message.type}`);
  }
  const events = Map.groupBy(heard, ({ headers }) => headers["webhook-id"] ?? "");
  for (const [id, requests] of events) {
    const about = new Set(requests.map(({ message }) => `${message.data.id} ${message.event}`));
    if (about.size > 1) findings.doubled.push(`${id} is ${[...about].join(" and ")}`);
  }
  return findings;
}
