/** The middleware and the routes, in order. Knows HTTP and what the other files do; knows neither Redis nor BullMQ nor the environment. */
import { fileURLToPath } from "node:url";
import { serveStatic } from "@hono/node-server/serve-static";
import { Hono } from "hono";
import { ApiError } from "./api-error.ts";
import { openToOrigins } from "./cors.ts";
import type { AuditDeps } from "./auth/audit.ts";
import { audit } from "./auth/audit.ts";
import type { AuthDeps } from "./auth/authenticate.ts";
import { authenticate } from "./auth/authenticate.ts";
import type { BatchDeps } from "./doors/batch-runner.ts";
import { openAiBatchDoor } from "./doors/openai-batch/routes.ts";
import { openAiDoor } from "./doors/openai/routes.ts";
import type { ReplicateDeps } from "./doors/replicate/routes.ts";
import { replicateDoor } from "./doors/replicate/routes.ts";
import type { AppEnv } from "./errors.ts";
import { createErrorHandler } from "./errors.ts";
import { nameRequest, securityHeaders } from "./headers.ts";
import type { Gates } from "./limits/gates.ts";
import { onlyOwnPages } from "./own-pages.ts";
import type { AdminRoutesDeps } from "./routes/admin.ts";
import { adminRoutes } from "./routes/admin.ts";
import type { JobRoutesDeps } from "./routes/jobs.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { linkRoutes } from "./routes/links.ts";
import type { ServiceRoutesDeps } from "./routes/service.ts";
import { serviceRoutes } from "./routes/service.ts";
import type { WebhookRoutesDeps } from "./routes/webhooks.ts";
import { webhookRoutes } from "./routes/webhooks.ts";
import { createWaiting } from "./wait.ts";

export type AppDeps = Omit<JobRoutesDeps & BatchDeps & ReplicateDeps, "waiting"> &
  ServiceRoutesDeps &
  AdminRoutesDeps &
  AuthDeps &
  AuditDeps &
  WebhookRoutesDeps & {
    gates: Gates;
    /** Origins whose pages may call the API from a browser. */
    corsOrigins: readonly string[];
    /** Whoever reaches the address may ask, since only this machine does. */
    isOpenLocally: boolean;
  };

const publicFolder = fileURLToPath(new URL("../public", import.meta.url));

export function createApp(settings: AppDeps): Hono<AppEnv> {
  const deps = { ...settings, waiting: createWaiting(settings) };
  const app = new Hono<AppEnv>();

  // What waits for nothing makes no promise, and what is switched off is not there: each costs every request some microseconds.
  app.use(nameRequest);
  app.use(securityHeaders);
  if (deps.corsOrigins.length > 0) app.use(openToOrigins(deps.corsOrigins));
  // Whoever keeps a connection to a process that stops would meet its end with the next request.
  app.use(async (c, next) => {
    await next();
    if (deps.closing.aborted) c.header("Connection", "close");
  });
  // Before rates: a page elsewhere must not use up what an address may ask.
  app.use(onlyOwnPages(deps));
  app.use(deps.gates.address);
  if (deps.gates.byAddress !== null) app.use(deps.gates.byAddress);
  app.use(authenticate(deps));
  if (deps.gates.byKey !== null) app.use(deps.gates.byKey);
  app.use(deps.gates.streams);
  app.use(audit(deps));
  app.onError(createErrorHandler(deps.log, deps.metrics));
  app.notFound((c) => {
    throw new ApiError("not_found", `There is nothing at ${c.req.path}.`);
  });

  app.route("/", jobRoutes(deps));
  app.route("/", linkRoutes(deps));
  app.route("/", adminRoutes(deps));
  app.route("/", webhookRoutes(deps));
  app.route("/", openAiDoor(deps));
  app.route("/", openAiBatchDoor(deps));
  app.route("/", replicateDoor(deps));
  app.route("/", serviceRoutes(deps));

  for (const { path } of [...app.routes].filter(({ method }) => method !== "ALL")) {
    app.all(path, (c) => {
      throw new ApiError(
        "method_not_allowed",
        `${c.req.method} is not possible here; see /openapi.json.`,
      );
    });
  }
  app.get("*", serveStatic({ root: publicFolder }));
  return app;
}
