/** What the service says about itself over HTTP. */
import type { Ledger, Subscriber } from "@glimpse/ledger";
import type { LoopDelay } from "@glimpse/telemetry";
import { Hono } from "hono";
import type { Admission } from "../admission/admission.ts";
import { ApiError } from "../api-error.ts";
import type { AppEnv } from "../errors.ts";
import { listModels, readReadiness } from "../health.ts";
import type { ApiMetrics } from "../metrics.ts";
import { openApiDocument } from "../openapi.ts";

export type ServiceRoutesDeps = {
  ledger: Ledger;
  subscriber: Subscriber;
  admission: Admission;
  served: { model: string; version: string };
  loopDelay: () => LoopDelay;
  metrics: ApiMetrics;
};

/** Made once: it is long, and whoever asks for it often shall not keep others waiting. */
const openApiBytes = new TextEncoder().encode(JSON.stringify(openApiDocument));

export function serviceRoutes({
  ledger,
  subscriber,
  admission,
  served,
  loopDelay,
  metrics,
}: ServiceRoutesDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  routes.get("/v1/models", async (c) => c.json(await listModels(ledger, served)));
  routes.get("/v1/models/:id", async (c) => {
    const { data } = await listModels(ledger, served);
    const model = data.find(({ id }) => id === c.req.param("id"));
    if (model === undefined) throw new ApiError("model_not_found", "There is no such model.");
    return c.json(model);
  });
  routes.get("/healthz", (c) => c.json({ status: "ok", event_loop_delay_ms: loopDelay() }));
  routes.get("/ready", async (c) => {
    const readiness = await readReadiness(ledger, subscriber, served, admission);
    return c.json(readiness, readiness.ready ? 200 : 503);
  });
  routes.get("/metrics", async (c) => {
    // So that how the version does is known without anybody asking for a job; an outage of Redis is no reason to say nothing.
    await admission.readPulse(served.version).catch(() => {});
    return c.body(await metrics.text(), 200, { "Content-Type": metrics.contentType });
  });
  routes.get("/openapi.json", (c) => {
    c.header("Content-Type", "application/json");
    c.header("Cache-Control", "public, max-age=60");
    return c.body(openApiBytes);
  });
  return routes;
}
