// Every route of the app against every kind of caller that may not. The routes come from the app itself: a new one is in here
// without being written down, and fails until its parameters are known.
import { defaultTenant, type Scope, scopes } from "@glimpse/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openTestApp, png } from "../testing.ts";

/** The only routes that strangers may use. */
const publicRoutes = ["GET /*", "GET /healthz", "GET /openapi.json", "GET /ready"];

/** Routes whose need is not what their method says, besides those under /v1/admin. */
const exceptions: Record<string, Scope> = {
  "GET /metrics": "admin",
  "POST /v1/jobs/:id/links": "jobs:read",
  "GET /v1/webhook-secret": "jobs:write",
  "GET /replicate/v1/webhooks/default/secret": "jobs:write",
};

type Open = Awaited<ReturnType<typeof openTestApp>>;
let open: Open;
let job: string;
const sent = new Map<string, string>();

type Route = { name: string; method: string; path: string };
const routesOf = ({ app }: Open): Route[] =>
  app.routes
    .filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => ({ name: `${method} ${path}`, method, path }))
    .filter(({ name }, i, all) => all.findIndex((other) => other.name === name) === i);

const forListing = await openTestApp();
const routes = routesOf(forListing);
await forListing.close();
const privateRoutes = routes.filter(({ name }) => !publicRoutes.includes(name));

function needOf({ name, method, path }: Route): Scope {
  const exception = exceptions[name];
  if (exception !== undefined) return exception;
  if (path.startsWith("/v1/admin/")) return "admin";
  return method === "GET" ? "jobs:read" : "jobs:write";
}

/**
 * What the owner has, by the beginning of the paths that lead to it: how to make one, and an id of the same form that nobody has.
 * A route about something else fails until that is in here.
 */
const things: Record<string, { make: (ask: Ask) => Promise<string>; absent: string }> = {
  "/v1/jobs/": {
    async make(ask) {
      const body = { prompt: "What?", metadata: { mark: "of-the-owner" } };
      return made(ask("POST", "/v1/jobs", body));
    },
    absent: `job_0_${"0".repeat(32)}`,
  },
  "/v1/responses/": {
    make: (ask) => made(ask("POST", "/v1/responses", { input: "What?", background: true })),
    absent: `resp_0_${"0".repeat(32)}`,
  },
  "/replicate/v1/predictions/": {
    make: (ask) =>
      made(
        ask("POST", "/replicate/v1/predictions", { version: "nano", input: { prompt: "What?" } }),
      ),
    absent: `0_${"0".repeat(32)}`,
  },
  "/replicate/v1/files/": {
    make: (ask) => made(ask("POST", "/replicate/v1/files", formOf("content", png(8, 8)))),
    absent: `file-${"0".repeat(32)}`,
  },
  "/v1/files/": {
    make: (ask) => made(ask("POST", "/v1/files", requests())),
    absent: `file-${"0".repeat(32)}`,
  },
  "/v1/batches/": {
    async make(ask) {
      const input_file_id = await made(ask("POST", "/v1/files", requests()));
      const endpoint = "/v1/responses";
      return made(
        ask("POST", "/v1/batches", { input_file_id, endpoint, completion_window: "24h" }),
      );
    },
    absent: `batch_${"0".repeat(32)}`,
  },
  "/v1/webhook-endpoints/": {
    make: (ask) => made(ask("POST", "/v1/webhook-endpoints", { url: "https://8.8.8.8/hook" })),
    absent: `whe_${"0".repeat(32)}`,
  },
  "/v1/webhook-deliveries/": {
    async make(ask) {
      const url = "https://8.8.8.8/hook";
      const id = await made(ask("POST", "/v1/webhook-endpoints", { url }));
      return made(ask("POST", `/v1/webhook-endpoints/${id}/ping`));
    },
    absent: `dlv_0_${"0".repeat(32)}`,
  },
  // Of models there are the same ones for everybody.
  "/v1/models/": { make: async () => "nothing", absent: "nothing" },
  "/v1/admin/keys/": {
    make: async () => (await key("owner", ["jobs:read"])).id,
    absent: "0".repeat(16),
  },
};
type Ask = (method: string, path: string, body?: object) => Promise<Response>;

/** The id of what was made. */
async function made(answer: Promise<Response>): Promise<string> {
  const { id, ...rest } = (await (await answer).json()) as { id?: string };
  if (id === undefined) throw new Error(JSON.stringify(rest));
  return id;
}

function formOf(field: string, bytes: Uint8Array<ArrayBuffer>): FormData {
  const form = new FormData();
  form.set(field, new File([bytes], "of-the-owner"));
  return form;
}

/** A file of one request, for a batch. */
function requests(): FormData {
  const line = { custom_id: "a", method: "POST", url: "/v1/responses", body: { input: "What?" } };
  const form = formOf("file", new Uint8Array(Buffer.from(JSON.stringify(line))));
  form.set("purpose", "batch");
  return form;
}
const ownersThings = new Map<string, string>();

/** The route's path, to what the owner has or to what nobody has. */
function pathOf({ path }: Route, whose: "owner" | "nobody" = "owner"): string {
  if (!path.includes(":")) return path;
  if (path.includes("/:owner/:name")) return path.replace("/:owner/:name", "/glimpse/nothing");
  const start = Object.keys(things).find((beginning) => path.startsWith(beginning)) ?? "";
  const id = whose === "owner" ? ownersThings.get(start) : things[start]?.absent;
  const filled = path.replace(/:id(\{[^}]*\})?/, id ?? ":id");
  if (filled.includes(":")) throw new Error(`Say in \`things\` what ${path} is about.`);
  return filled;
}

async function key(tenant: string, granted: readonly Scope[]) {
  const wanted = { name: "test", tenant, scopes: [...granted], expires_at: null };
  return open.apiKeys.create(wanted);
}

const body = JSON.stringify({ prompt: "What?" });

async function ask(
  route: Route,
  credential: string | null,
  whose?: "owner" | "nobody",
): Promise<Response> {
  const { method } = route;
  const hasBody = method !== "GET" && method !== "DELETE";
  return open.app.request(pathOf(route, whose), {
    method,
    headers: {
      ...(hasBody && { "Content-Type": "application/json" }),
      ...(credential !== null && { Authorization: `Bearer ${credential}` }),
    },
    ...(hasBody && { body }),
    // Nobody runs jobs here; whoever waits for one leaves soon.
    signal: AbortSignal.timeout(500),
  });
}

beforeAll(async () => {
  open = await openTestApp({}, { AUTH: "keys" });
  const owner = await key("owner", scopes);
  for (const [beginning, { make }] of Object.entries(things)) {
    const asOwner: Ask = async (method, path, body) =>
      open.app.request(path, {
        method,
        headers: {
          ...(!(body instanceof FormData) && { "Content-Type": "application/json" }),
          Authorization: `Bearer ${owner.key}`,
        },
        ...(body && { body: body instanceof FormData ? body : JSON.stringify(body) }),
      });
    ownersThings.set(beginning, await make(asOwner));
  }
  job = ownersThings.get("/v1/jobs/")!;
  const revoked = await key("owner", scopes);
  await open.apiKeys.revoke(revoked.id);
  const past = new Date(Date.now() - 1).toISOString();
  const wanted = { name: "test", tenant: "owner", scopes: [...scopes] };
  const expired = await open.apiKeys.create({ ...wanted, expires_at: past });
  const last = owner.key.endsWith("0") ? "1" : "0";
  for (const [name, text] of Object.entries({
    "a revoked key": revoked.key,
    "an expired key": expired.key,
    "a key that is wrong in its last digit": `${owner.key.slice(0, -1)}${last}`,
    "a key that never was": `glk_${"0".repeat(16)}_${"0".repeat(48)}`,
    "only the id of a key": `glk_${owner.id}`,
    "a token where tokens are not accepted": "eyJhbGciOiJub25lIn0.e30.x",
  })) {
    sent.set(name, text);
  }
});
afterAll(() => open.close());

test("there are routes, and what is public is exactly what is meant to be", async () => {
  expect(privateRoutes.length).toBeGreaterThan(10);
  expect(routes.map(({ name }) => name)).toEqual(expect.arrayContaining(publicRoutes));
  for (const name of publicRoutes) {
    const path = name.split(" ")[1]!.replace("*", "");
    expect((await open.app.request(path)).status, name).not.toBe(401);
  }
});

describe.each(privateRoutes)("$name", (route) => {
  test("needs credentials, and good ones", async () => {
    const answers = [await ask(route, null)];
    for (const text of sent.values()) answers.push(await ask(route, text));
    const bodies = await Promise.all(answers.map((answer) => answer.json()));
    for (const [i, answer] of answers.entries()) {
      const name = ["no credentials", ...sent.keys()][i];
      expect(answer.status, name).toBe(401);
      expect(answer.headers.get("www-authenticate"), name).toMatch(/^Bearer/);
      expect({ ...(bodies[i] as object), request_id: "" }, name).toEqual({
        ...(bodies[0] as object),
        request_id: "",
      });
    }
  });

  test("needs its scope, and no other does", async () => {
    const need = needOf(route);
    const others = await key(
      "owner",
      scopes.filter((scope) => scope !== need),
    );
    const refused = await ask(route, others.key);
    expect(refused.status).toBe(403);
    expect(await refused.json()).toMatchObject({ code: "insufficient_scope" });
    expect(refused.headers.get("www-authenticate")).toContain(`scope="${need}"`);
    const right = await key("stranger", [need]);
    expect([401, 403]).not.toContain((await ask(route, right.key)).status);
  });

  test("shows nothing of another tenant's, nor whether there is such a thing", async () => {
    if (route.path.startsWith("/v1/admin/")) return; // Whoever manages the service sees all tenants' keys.
    const stranger = await key("stranger", scopes);
    const answer = await ask(route, stranger.key);
    const text = await answer.text();
    for (const secret of ["of-the-owner", ...(route.path.includes(":") ? [] : [job])]) {
      expect(text).not.toContain(secret);
    }
    if (!route.path.includes(":")) return;
    // A job under an id that is taken is refused, whoever has taken it.
    if (route.name === "PUT /v1/jobs/:id") return expect(answer.status).toBe(422);
    expect([404, 422]).toContain(answer.status);
    const absent = await ask(route, stranger.key, "nobody");
    const comparable = (json: string) => ({ ...(JSON.parse(json) as object), request_id: "" });
    expect(comparable(await absent.text())).toEqual(comparable(text));
  });
});

test("the owner's job is untouched by all that", async () => {
  expect(await open.ledger.read(job, "owner")).toMatchObject({ state: "queued" });
  expect(await open.ledger.read(job, "stranger")).toBeNull();
  expect(await open.ledger.read(job, defaultTenant)).toBeNull();
});

test("credentials of any other form are none", async () => {
  const { key: good } = await key("owner", scopes);
  const forms = [
    good,
    `Basic ${Buffer.from(`x:${good}`).toString("base64")}`,
    `Bearer`,
    `Bearer ${good} ${good}`,
    `Bearer "${good}"`,
    `Bearer ${good},`,
    `Bearer\t${good}`,
    `Digest ${good}`,
    `BearerX ${good}`,
    `Bearer ${good.toUpperCase()}`,
    `Bearer ${"a".repeat(8_000)}`,
  ];
  for (const form of forms) {
    const answer = await open.app.request("/v1/jobs", { headers: { Authorization: form } });
    expect(answer.status, form.slice(0, 20)).toBe(401);
  }
  for (const query of ["key", "api_key", "token", "access_token", "authorization"]) {
    expect((await open.app.request(`/v1/jobs?${query}=${good}`)).status, query).toBe(401);
  }
  for (const header of ["X-Api-Key", "Api-Key", "Cookie", "Proxy-Authorization", "X-Tenant"]) {
    const answer = await open.app.request("/v1/jobs", { headers: { [header]: good } });
    expect(answer.status, header).toBe(401);
  }
  for (const scheme of ["Bearer", "bearer", "Token"]) {
    const headers = { Authorization: `${scheme} ${good}` };
    expect((await open.app.request("/v1/jobs", { headers })).status, scheme).toBe(200);
  }
});
