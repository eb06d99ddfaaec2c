/** From the outbox to deliveries: who is to be told of what. Doing an entry twice changes nothing. */
import type { KeptEndpoint, KeptWebhook, OutboxEntry } from "@glimpse/contracts";
import { keptWebhook } from "@glimpse/contracts";
import type { Deliveries, Endpoints, Ledger, Taken } from "@glimpse/ledger";
import { deliveryIdOf, signing } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import type { JobNews } from "./message.ts";
import { messageOf, noticeMessage, piecesMessage } from "./message.ts";
import type { Lanes } from "./lanes.ts";
import { isPrediction, predictionMessage, unfinishedPrediction } from "./prediction.ts";

export type DispatchDeps = {
  shard: string;
  ledger: Ledger;
  deliveries: Deliveries;
  endpoints: Endpoints;
  /** Has a delivery tried as soon as possible. */
  enqueue: (id: string) => Promise<void>;
  sendInLane: Lanes;
  maxBytes: number;
  log: Logger;
};

/** Somebody who is to be told: an endpoint, or a job's own webhook. */
type Receiver = Pick<KeptWebhook, "url" | "payload" | "secret"> & {
  endpoint: string | null;
  secrets: () => Promise<string[]>;
};
type ListEndpoints = Endpoints["list"];
type Of<K extends string> = Extract<OutboxEntry, Record<K, unknown>>;

/** Pieces are told while they are news or not at all. */
const stalePiecesMs = 5_000;

/** The returned function resolves to the entries that are done with; the others are to be taken again. */
export function createDispatch(deps: DispatchDeps) {
  const { shard, ledger, deliveries, endpoints, enqueue, sendInLane, maxBytes, log } = deps;

  return async function dispatch(taken: Taken[]): Promise<Taken[]> {
    const list = listOnce(endpoints.list);
    const done = await Promise.all(
      taken.map(async ({ entryId, entry }) => {
        try {
          if (entry === null) log.error({ entry: entryId }, "an entry that cannot be read");
          else await dispatchOne(entry, Number(entryId.split("-")[0]), list);
          return true;
        } catch (error) {
          log.warn({ error, entry: entryId }, "not dispatched");
          return false;
        }
      }),
    );
    return taken.filter((_, i) => done[i]);
  };

  async function dispatchOne(
    entry: OutboxEntry,
    writtenMs: number,
    list: ListEndpoints,
  ): Promise<void> {
    if ("delivery" in entry) return enqueue(entry.delivery as string);
    if ("job" in entry) return tellOfJob(entry as Of<"job">, list);
    if ("notice" in entry) return tellOfNotice(entry as Of<"notice">, list);
    if (Date.now() - writtenMs > stalePiecesMs) return;
    tellPieces(entry as Of<"pieces_of">, list).catch((error: unknown) =>
      log.warn({ error }, "pieces not told"),
    );
  }

  async function tellOfJob(
    { job: id, tenant, event, state, webhook }: Of<"job">,
    list: ListEndpoints,
  ): Promise<void> {
    const type = `job.${state}`;
    const receivers = receiversOf(await list(tenant), tenant, type, webhook);
    if (receivers.length === 0) return;
    const { job, asked } = (await ledger.readAsked(id, tenant)) ?? { job: null, asked: null };
    const news: JobNews = { id, state, event, job };
    await Promise.all(
      receivers.map((receiver) => {
        const body =
          job !== null && receiver.endpoint === null && isPrediction(asked)
            ? predictionMessage(job, asked, state)
            : messageOf(news, receiver.payload, maxBytes);
        return deliver([id, String(event)], { tenant, type, job: id, body }, receiver);
      }),
    );
  }

  async function tellOfNotice(
    { notice, tenant, type, data }: Of<"notice">,
    list: ListEndpoints,
  ): Promise<void> {
    const body = noticeMessage(type, data);
    const receivers = receiversOf(await list(tenant), tenant, type, undefined);
    await Promise.all(
      receivers.map((receiver) => deliver([notice, type], { tenant, type, body }, receiver)),
    );
  }

  async function deliver(
    what: string[],
    message: { tenant: string; type: string; job?: string; body: string },
    { endpoint, url, secret }: Receiver,
  ): Promise<void> {
    const id = deliveryIdOf(shard, what, endpoint ?? "its own");
    await deliveries.open({ id, ...message, endpoint, url, secret }, false);
    await enqueue(id);
  }

  /** Best effort: one try, of which nothing is kept. */
  async function tellPieces(entry: Of<"pieces_of">, list: ListEndpoints): Promise<void> {
    const { pieces_of: id, tenant, from, to, webhook } = entry;
    const receivers = receiversOf(await list(tenant), tenant, "job.delta", webhook);
    if (receivers.length === 0) return;
    const found = await ledger.readAsked(id, tenant);
    if (found === null) return;
    const { job, asked } = found;
    const asPrediction = isPrediction(asked) && (await ledger.readLog(id, -1, to + 1));
    const events = asPrediction || (await ledger.readLog(id, from - 1, to - from + 1));
    const news = events.filter((event) => event.id >= from && event.id <= to);
    const native = JSON.stringify(piecesMessage({ id, attempt: job.attempt }, { from, to }, news));
    const whole = asPrediction && unfinishedPrediction(job, asked, events);
    await Promise.all(
      receivers.map(async ({ endpoint, url, secrets }) => {
        const body = (endpoint === null && whole) || native;
        const messageId = deliveryIdOf(shard, [id, "pieces", String(to)], endpoint ?? "its own");
        const message = { id: messageId, url, body, secrets: await secrets() };
        await sendInLane(`pieces ${endpoint ?? `${tenant} ${url}`}`, message);
      }),
    );
  }

  function receiversOf(
    of: KeptEndpoint[],
    tenant: string,
    type: string,
    webhook: string | undefined,
  ): Receiver[] {
    const receivers: Receiver[] = [];
    const own = webhook === undefined ? null : keptWebhook.parse(JSON.parse(webhook));
    if (own?.events.includes(type)) {
      const { url, payload, secret } = own;
      const secrets = async () => (secret === undefined ? endpoints.ownSecrets(tenant) : [secret]);
      receivers.push({ url, payload, secret, endpoint: null, secrets });
    }
    for (const endpoint of of) {
      if (endpoint.state !== "enabled" || !endpoint.events.includes(type)) continue;
      const { id, url, payload } = endpoint;
      const secrets = async () => signing(endpoint);
      receivers.push({ url, payload, secret: undefined, endpoint: id, secrets });
    }
    return receivers;
  }
}

/** Each tenant's endpoints, read once for all entries that were taken together. */
function listOnce(list: ListEndpoints): ListEndpoints {
  const known = new Map<string, ReturnType<ListEndpoints>>();
  return function listKnown(tenant) {
    const found = known.get(tenant) ?? list(tenant);
    known.set(tenant, found);
    return found;
  };
}
