/** Signed links to a job, for whoever cannot send credentials: browsers' EventSource, or a colleague. */
import type { signedLinks } from "@glimpse/contracts";
import { newLinks } from "@glimpse/contracts";
import type { Ledger } from "@glimpse/ledger";
import { Hono } from "hono";
import type { z } from "zod";
import type { AppEnv } from "../errors.ts";
import type { Links } from "../links.ts";
import { existingJob, readJobId, readJson } from "../request.ts";

export type LinkRoutesDeps = { ledger: Ledger; auth: { links: Links } };

export function linkRoutes({ ledger, auth: { links } }: LinkRoutesDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();

  routes.post("/v1/jobs/:id/links", async (c) => {
    const { id, links: paths } = await existingJob(c, ledger, readJobId(c));
    const { expires_in_s: lifeS } = await readJson(c, newLinks);
    // Whole seconds, as tokens have them.
    const expiresAt = new Date((Math.floor(Date.now() / 1_000) + lifeS) * 1_000);
    const { tenant, key } = c.get("caller");
    const sign = (path: string) => links.sign(path, { tenant, key, expiresAt });
    c.header("Cache-Control", "no-store");
    return c.json({
      object: "links",
      job: id,
      expires_at: expiresAt.toISOString(),
      self: await sign(paths.self),
      events: await sign(paths.events),
    } satisfies z.infer<typeof signedLinks>);
  });

  return routes;
}
