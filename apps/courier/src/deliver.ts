/** One delivery, when its time has come: whether it is still wanted, a try, and what follows from it. */
import type { KeptEndpoint } from "@glimpse/contracts";
import type { Deliveries, Endpoints, OpenDelivery } from "@glimpse/ledger";
import { signing } from "@glimpse/ledger";
import type { Logger } from "@glimpse/telemetry";
import type { Schedule } from "./judge.ts";
import { isGone, judge, longestMs } from "./judge.ts";
import type { Lanes } from "./lanes.ts";

export type DeliverDeps = {
  deliveries: Deliveries;
  endpoints: Endpoints;
  sendInLane: Lanes;
  schedule: Schedule;
  /** For how long an endpoint may only fail. */
  failingMs: number;
  log: Logger;
};

/** How often it has been taken up decides how long one waits that found no place. */
const [shortestWaitMs, longestWaitMs] = [100, 10_000];

/** The returned function resolves to the milliseconds after which it is to be called again, or null when the delivery is settled. */
export function createDeliver(deps: DeliverDeps) {
  const { deliveries, endpoints, sendInLane, schedule, log } = deps;

  return async function deliver(id: string, takenUp: number): Promise<number | null> {
    const found = await deliveries.read(id);
    if (found === null || found.state !== "pending") return null;
    const { tenant } = found;
    const endpoint = found.endpoint === null ? null : await endpoints.read(tenant, found.endpoint);
    if (found.endpoint !== null && endpoint?.state !== "enabled") {
      return settle(found, endpoint === null ? "endpoint_deleted" : "endpoint_disabled");
    }
    const url = endpoint?.url ?? found.url;
    const secrets = await secretsOf(found, endpoint);
    const sent = await sendInLane(laneOf(found, url), { id, url, body: found.body, secrets });
    if (sent === null) {
      if (Date.now() - found.askedMs > longestMs(schedule)) return settle(found, "given_up");
      const waitMs = Math.min(longestWaitMs, shortestWaitMs * 2 ** Math.min(takenUp, 10));
      return waitMs * (0.5 + Math.random());
    }
    const { tried } = sent;
    const verdict = judge(sent, found.tried, schedule);
    await deliveries.note(found, tried, verdict);
    log.info(
      {
        delivery: id,
        job: found.job,
        try: found.tried + 1,
        ...tried,
        answer: undefined,
        ...verdict,
      },
      "tried a delivery",
    );
    if (endpoint !== null) await noteOf(endpoint, tenant, tried);
    return verdict.state === "pending" ? verdict.delayMs : null;
  };

  async function settle(found: OpenDelivery, reason: string): Promise<null> {
    await deliveries.note(found, null, { state: "dead", reason });
    log.info({ delivery: found.id, reason }, "gave up a delivery");
    return null;
  }

  async function noteOf(
    endpoint: KeptEndpoint,
    tenant: string,
    tried: { status: number | null; error: string | null },
  ): Promise<void> {
    const { id } = endpoint;
    if (isGone(tried)) {
      await endpoints.noteGone(tenant, id);
      log.warn({ endpoint: id, tenant, reason: "gone" }, "disabled a webhook endpoint");
    } else if (await endpoints.noteTry(tenant, endpoint, tried.error === null, deps.failingMs)) {
      log.warn({ endpoint: id, tenant, reason: "failing" }, "disabled a webhook endpoint");
    }
  }

  async function secretsOf(
    { tenant, secret }: OpenDelivery,
    endpoint: KeptEndpoint | null,
  ): Promise<string[]> {
    if (endpoint !== null) return signing(endpoint);
    return secret === undefined ? endpoints.ownSecrets(tenant) : [secret];
  }
}

/** An endpoint has a lane of its own; jobs' own webhooks share one if they have the same address, but for its query. */
function laneOf({ endpoint, tenant }: OpenDelivery, url: string): string {
  if (endpoint !== null) return endpoint;
  const { origin, pathname } = URL.parse(url) ?? { origin: url, pathname: "" };
  return `${tenant} ${origin}${pathname}`;
}
