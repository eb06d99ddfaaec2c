/** What the service says about itself over HTTP. */
import type { Ledger, Subscriber } from "@glimpse/ledger";
import type { LoopDelay } from "@glimpse/telemetry";
import { Hono } from "hono";
import type { Admission } from "../admission/admission.ts";
import type { AppEnv } from "../errors.ts";
import { listModels, readReadiness } from "../health.ts";
import { openApiDocument } from "../openapi.ts";

export type ServiceRoutesDeps = {
  ledger: Ledger;
  subscriber: Subscriber;
  admission: Admission;
  served: { model: string; version: string };
  loopDelay: () => LoopDelay;
};

export function serviceRoutes({
  ledger,
  subscriber,
  admission,
  served,
  loopDelay,
}: ServiceRoutesDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  routes.get("/v1/models", async (c) => c.json(await listModels(ledger, served)));
  routes.get("/healthz", (c) => c.json({ status: "ok", event_loop_delay_ms: loopDelay() }));
  routes.get("/ready", async (c) => {
    const readiness = await readReadiness(ledger, subscriber, served, admission);
    return c.json(readiness, readiness.ready ? 200 : 503);
  });
  routes.get("/openapi.json", (c) => c.json(openApiDocument));
  return routes;
}
