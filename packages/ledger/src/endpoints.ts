/**
 * Where tenants want to be told of their jobs, and the secrets that sign what they are told. Belongs to no shard.
 * Knows Redis and the contracts; whether an address may be called is not its business.
 */
import { randomBytes } from "node:crypto";
import type { EndpointChange, KeptEndpoint, KeptSecrets, NewEndpoint } from "@glimpse/contracts";
import { defaultWebhookEvents, keptEndpoint, keptSecrets } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import type { Keys } from "./keys.ts";
import { loadScripts } from "./scripts.ts";

export type Endpoints = ReturnType<typeof createEndpoints>;

const maxEndpoints = 50;
const ownSecrets = "default";

export function createEndpoints(redis: Redis, keys: Keys, { shard }: { shard: string }) {
  const run = loadScripts(redis);

  /** Changes a field of a hash from what it is, however many others do the same. Null: it is not there, or `change` gave null. */
  async function update<T>(
    key: string,
    field: string,
    parse: (value: unknown) => T,
    change: (known: T) => T | null,
  ): Promise<T | null> {
    for (;;) {
      const json = await redis.hget(key, field);
      const changed = json === null ? null : change(parse(JSON.parse(json)));
      if (changed === null) return null;
      const swapped = await run("swap", [key], [field, json ?? "", JSON.stringify(changed)]);
      if (swapped === 1) return changed;
    }
  }

  const ofEndpoint = (
    tenant: string,
    id: string,
    change: (known: KeptEndpoint) => KeptEndpoint | null,
  ) => update(keys.endpoints(tenant), id, (value) => keptEndpoint.parse(value), change);

  /** Says in this shard which events the tenant's endpoints want: first, so that none is missed; too many do no harm. */
  async function want(tenant: string, events: readonly string[]): Promise<void> {
    const known = (await redis.hget(keys.outboxWants(shard), tenant))?.split(" ") ?? [];
    const all = [...new Set([...known, ...events])].join(" ");
    await redis.hset(keys.outboxWants(shard), tenant, all);
  }

  async function list(tenant: string): Promise<KeptEndpoint[]> {
    const found = await redis.hvals(keys.endpoints(tenant));
    const endpoints = found.map((json) => keptEndpoint.parse(JSON.parse(json)));
    return endpoints.toSorted((a, b) => a.created_at.localeCompare(b.created_at));
  }

  return {
    list,

    /** Null: the tenant has as many as it may. */
    async create(tenant: string, wanted: NewEndpoint): Promise<KeptEndpoint | null> {
      if ((await redis.hlen(keys.endpoints(tenant))) >= maxEndpoints) return null;
      const { url, events = defaultWebhookEvents, payload = "thin", description = "" } = wanted;
      const endpoint: KeptEndpoint = {
        id: `whe_${randomBytes(16).toString("hex")}`,
        url,
        events,
        payload,
        description,
        state: "enabled",
        disabled_reason: null,
        failing_since: null,
        created_at: new Date().toISOString(),
        secrets: [{ secret: wanted.secret ?? newSecret(), until: null }],
      };
      await want(tenant, events);
      await redis.hset(keys.endpoints(tenant), endpoint.id, JSON.stringify(endpoint));
      return endpoint;
    },

    /** Null when the tenant has no such endpoint. */
    async read(tenant: string, id: string): Promise<KeptEndpoint | null> {
      const json = await redis.hget(keys.endpoints(tenant), id);
      return json === null ? null : keptEndpoint.parse(JSON.parse(json));
    },

    /** Null when the tenant has no such endpoint. One that is enabled again has a clean record. */
    async change(tenant: string, id: string, wanted: EndpointChange): Promise<KeptEndpoint | null> {
      if (wanted.events !== undefined) await want(tenant, wanted.events);
      return ofEndpoint(tenant, id, (known) => ({
        ...known,
        url: wanted.url ?? known.url,
        events: wanted.events ?? known.events,
        payload: wanted.payload ?? known.payload,
        description: wanted.description ?? known.description,
        state: wanted.state ?? known.state,
        ...(wanted.state === "disabled" && { disabled_reason: known.disabled_reason ?? "asked" }),
        ...(wanted.state === "enabled" && { disabled_reason: null, failing_since: null }),
      }));
    },

    /** False when the tenant has no such endpoint. */
    async remove(tenant: string, id: string): Promise<boolean> {
      return (await redis.hdel(keys.endpoints(tenant), id)) === 1;
    },

    /** Gives the endpoint a new secret; messages are signed with the old one as well for `overlapMs`. Null: no such endpoint. */
    async rotate(tenant: string, id: string, secret: string | undefined, overlapMs: number) {
      return ofEndpoint(tenant, id, (known) => ({
        ...known,
        ...rotated(known, secret, overlapMs),
      }));
    },

    /** The secrets that sign just now where nobody has given any; made when they are first asked for. */
    async ownSecrets(tenant: string): Promise<string[]> {
      const made: KeptSecrets = { secrets: [{ secret: newSecret(), until: null }] };
      const key = keys.webhookSecrets(tenant);
      const known =
        (await redis.hget(key, ownSecrets)) ??
        ((await redis.hsetnx(key, ownSecrets, JSON.stringify(made)))
          ? JSON.stringify(made)
          : await redis.hget(key, ownSecrets));
      return signing(keptSecrets.parse(JSON.parse(known ?? "")));
    },

    /** As `rotate`. */
    async rotateOwn(tenant: string, secret: string | undefined, overlapMs: number): Promise<void> {
      await this.ownSecrets(tenant);
      const parse = (value: unknown) => keptSecrets.parse(value);
      await update(keys.webhookSecrets(tenant), ownSecrets, parse, (known) =>
        rotated(known, secret, overlapMs),
      );
    },

    /** Notes whether a try succeeded. One that has only failed for `limitMs` is disabled; returns whether that has happened now. */
    async noteTry(tenant: string, endpoint: KeptEndpoint, ok: boolean, limitMs: number) {
      if (ok && endpoint.failing_since === null) return false;
      let disabled = false;
      await ofEndpoint(tenant, endpoint.id, (known) => {
        const since = ok ? null : (known.failing_since ?? new Date().toISOString());
        disabled =
          since !== null && known.state === "enabled" && Date.now() - Date.parse(since) >= limitMs;
        if (since === known.failing_since && !disabled) return null;
        const off = { state: "disabled", disabled_reason: "failing" } as const;
        return { ...known, failing_since: since, ...(disabled && off) };
      });
      return disabled;
    },

    /** The endpoint has said that it is gone for good. */
    async noteGone(tenant: string, id: string): Promise<void> {
      await ofEndpoint(tenant, id, (known) => ({
        ...known,
        state: "disabled",
        disabled_reason: "gone",
      }));
    },
  };
}

/** Those of the secrets that sign just now, the present one first. */
export function signing({ secrets }: KeptSecrets): string[] {
  return secrets
    .filter(({ until }) => until === null || until > Date.now())
    .map(({ secret }) => secret);
}

function rotated(
  { secrets }: KeptSecrets,
  secret: string | undefined,
  overlapMs: number,
): KeptSecrets {
  const until = Date.now() + overlapMs;
  const old = secrets[0] === undefined || overlapMs === 0 ? [] : [{ ...secrets[0], until }];
  return { secrets: [{ secret: secret ?? newSecret(), until: null }, ...old] };
}

function newSecret(): string {
  return `whsec_${randomBytes(32).toString("base64")}`;
}
