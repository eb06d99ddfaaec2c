/** Webhooks over HTTP: endpoints and their secrets, what was delivered and what was not, and sending it again. */
import {
  delivery as deliverySchema,
  deliveryId,
  deliveryQuery,
  endpointChange,
  endpointId,
  jobId,
  newEndpoint,
  replayRange,
  secretRotation,
  webhookEndpoint,
} from "@glimpse/contracts";
import type { Delivery, KeptEndpoint } from "@glimpse/contracts";
import type { Deliveries, DeliveryIndex, Endpoints, Ledger } from "@glimpse/ledger";
import { newDeliveryId, signing } from "@glimpse/ledger";
import type { Context } from "hono";
import { Hono } from "hono";
import { z } from "zod";
import { ApiError } from "../api-error.ts";
import { readBody } from "../body.ts";
import type { AppEnv } from "../errors.ts";
import { parseJson } from "../json.ts";
import { tenantOf } from "../tenant.ts";
import { validate } from "../validate.ts";
import type { CheckWebhookUrl } from "../webhook-url.ts";

export type WebhookRoutesDeps = {
  ledger: Ledger;
  endpoints: Endpoints;
  deliveries: Deliveries;
  checkWebhookUrl: CheckWebhookUrl;
};

const maxBodyBytes = 65_536;
const replayPage = 200;
const cursor = z.tuple([z.int().nonnegative(), deliveryId]);

export function webhookRoutes(deps: WebhookRoutesDeps): Hono<AppEnv> {
  const { ledger, endpoints, deliveries, checkWebhookUrl } = deps;
  const routes = new Hono<AppEnv>();

  routes.post("/v1/webhook-endpoints", async (c) => {
    const wanted = validate(newEndpoint, await readJson(c));
    await checkWebhookUrl(wanted.url, "url", true);
    const made = await endpoints.create(tenantOf(c), wanted);
    if (made === null)
      throw new ApiError("too_many_webhook_endpoints", "There are too many webhook endpoints.");
    c.header("Location", `/v1/webhook-endpoints/${made.id}`);
    return c.json({ ...shown(made), secret: signing(made)[0] }, 201);
  });

  routes.get("/v1/webhook-endpoints", async (c) => {
    return c.json({ object: "list", data: (await endpoints.list(tenantOf(c))).map(shown) });
  });

  routes.get("/v1/webhook-endpoints/:id", async (c) => c.json(shown(await existing(c))));

  routes.patch("/v1/webhook-endpoints/:id", async (c) => {
    const { id } = await existing(c);
    const wanted = validate(endpointChange, await readJson(c));
    if (wanted.url !== undefined) await checkWebhookUrl(wanted.url, "url", true);
    return c.json(shown(found(await endpoints.change(tenantOf(c), id, wanted))));
  });

  routes.delete("/v1/webhook-endpoints/:id", async (c) => {
    if (!(await endpoints.remove(tenantOf(c), readEndpointId(c)))) throw noSuchEndpoint();
    return c.body(null, 204);
  });

  routes.post("/v1/webhook-endpoints/:id/rotate-secret", async (c) => {
    const { id } = await existing(c);
    const { secret, overlap_s } = validate(secretRotation, await readJson(c));
    const changed = await endpoints.rotate(tenantOf(c), id, secret, overlap_s * 1_000);
    return c.json({ ...shown(found(changed)), secret: signing(found(changed))[0] });
  });

  routes.post("/v1/webhook-endpoints/:id/ping", async (c) => {
    const { id: endpoint, url, state } = await existing(c);
    if (state === "disabled")
      throw new ApiError("webhook_endpoint_disabled", "Enable the endpoint first.");
    const id = newDeliveryId(deliveries.shard);
    const body = JSON.stringify({
      type: "ping",
      timestamp: new Date().toISOString(),
      payload: "thin",
      event: null,
      data: { id: endpoint, object: "webhook_endpoint" },
    });
    await deliveries.open({ id, tenant: tenantOf(c), type: "ping", endpoint, url, body }, true);
    return c.json(await shownDelivery(c, id), 202);
  });

  routes.get("/v1/webhook-endpoints/:id/deliveries", async (c) => {
    return c.json(await page(c, { kind: "endpoint", name: (await existing(c)).id }));
  });

  routes.post("/v1/webhook-endpoints/:id/replay", async (c) => {
    const { id, state } = await existing(c);
    if (state === "disabled")
      throw new ApiError("webhook_endpoint_disabled", "Enable the endpoint first.");
    const range = validate(replayRange, await readJson(c));
    const sinceMs = Date.parse(range.since);
    const untilMs = range.until === undefined ? Number.POSITIVE_INFINITY : Date.parse(range.until);
    let replayed = 0;
    let from = null;
    for (;;) {
      const ids = await deliveries.list({ kind: "endpoint", name: id }, replayPage, from);
      for (const one of ids.filter(
        ({ createdMs }) => createdMs >= sinceMs && createdMs <= untilMs,
      )) {
        const is = await deliveries.read(one.id);
        if (is?.state !== range.state) continue;
        if ((await deliveries.replay(one.id, tenantOf(c))) === "replayed") replayed++;
      }
      from = ids.at(-1) ?? null;
      if (ids.length < replayPage || from === null || from.createdMs < sinceMs) break;
    }
    return c.json({ replayed }, 202);
  });

  routes.get("/v1/jobs/:id/deliveries", async (c) => {
    const id = jobId.safeParse(c.req.param("id"));
    if (!id.success || (await ledger.read(id.data, tenantOf(c))) === null)
      throw new ApiError("job_not_found", "There is no such job.");
    return c.json(await page(c, { kind: "job", name: id.data }));
  });

  routes.get("/v1/webhook-deliveries", async (c) => {
    const kind = c.req.query("state") === "dead" ? "dead" : "tenant";
    return c.json(await page(c, { kind, name: tenantOf(c) }));
  });

  routes.get("/v1/webhook-deliveries/:id", async (c) => {
    return c.json(await shownDelivery(c, readDeliveryId(c)));
  });

  routes.post("/v1/webhook-deliveries/:id/replay", async (c) => {
    const id = readDeliveryId(c);
    const outcome = await deliveries.replay(id, tenantOf(c));
    if (outcome === "none") throw noSuchDelivery();
    if (outcome === "pending")
      throw new ApiError("delivery_pending", "The delivery is still being tried.");
    return c.json(await shownDelivery(c, id), 202);
  });

  routes.get("/v1/webhook-secret", async (c) => {
    const [secret] = await endpoints.ownSecrets(tenantOf(c));
    return c.json({ secret });
  });

  routes.post("/v1/webhook-secret/rotate", async (c) => {
    const { secret, overlap_s } = validate(secretRotation, await readJson(c));
    await endpoints.rotateOwn(tenantOf(c), secret, overlap_s * 1_000);
    return c.json({ secret: (await endpoints.ownSecrets(tenantOf(c)))[0] });
  });

  async function existing(c: Context<AppEnv>): Promise<KeptEndpoint> {
    return found(await endpoints.read(tenantOf(c), readEndpointId(c)));
  }

  async function shownDelivery(c: Context<AppEnv>, id: string): Promise<Delivery> {
    const delivery = await deliveries.show(id, tenantOf(c));
    if (delivery === null) throw noSuchDelivery();
    return deliverySchema.parse(delivery);
  }

  async function page(c: Context<AppEnv>, of: DeliveryIndex) {
    const query = validate(deliveryQuery, c.req.query());
    const from = query.cursor === undefined ? null : readCursor(query.cursor);
    const ids = await deliveries.list(of, query.limit, from);
    const all = await Promise.all(ids.map(({ id }) => deliveries.show(id, tenantOf(c))));
    const wanted = (one: Delivery | null) =>
      one !== null && (query.state === undefined || one.state === query.state);
    const last = ids.length === query.limit ? ids.at(-1) : undefined;
    const next =
      last && Buffer.from(JSON.stringify([last.createdMs, last.id])).toString("base64url");
    return { object: "list", data: all.filter(wanted), next_cursor: next ?? null };
  }

  return routes;
}

/** What may be seen of an endpoint, which is all but its secrets. */
function shown(endpoint: KeptEndpoint) {
  return webhookEndpoint.parse({ object: "webhook_endpoint", ...endpoint });
}

/** An empty body is one without fields. */
async function readJson(c: Context<AppEnv>): Promise<unknown> {
  const bytes = await readBody(c.req.raw, maxBodyBytes);
  if (bytes.length === 0) return {};
  const mediaType = c.req.header("Content-Type")?.split(";", 1)[0]?.trim().toLowerCase();
  if (mediaType !== "application/json")
    throw new ApiError("unsupported_media_type", "Send application/json.");
  return parseJson(bytes);
}

function readCursor(text: string) {
  try {
    const json = Buffer.from(text, "base64url").toString("utf8");
    const [createdMs, id] = cursor.parse(JSON.parse(json));
    return { createdMs, id };
  } catch {
    throw new ApiError("invalid_request", "The cursor is not one that a list has given.", "cursor");
  }
}

function readEndpointId(c: Context<AppEnv>): string {
  const id = endpointId.safeParse(c.req.param("id"));
  if (!id.success) throw noSuchEndpoint();
  return id.data;
}

function readDeliveryId(c: Context<AppEnv>): string {
  const id = deliveryId.safeParse(c.req.param("id"));
  if (!id.success) throw noSuchDelivery();
  return id.data;
}

function found(endpoint: KeptEndpoint | null): KeptEndpoint {
  if (endpoint === null) throw noSuchEndpoint();
  return endpoint;
}

function noSuchEndpoint(): ApiError {
  return new ApiError("webhook_endpoint_not_found", "There is no such webhook endpoint.");
}

function noSuchDelivery(): ApiError {
  return new ApiError("delivery_not_found", "There is no such delivery.");
}
