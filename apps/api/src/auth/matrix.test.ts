// Every route of the app against every kind of caller that may not. The routes come from the app itself: a new one is in here
// without being written down, and fails until its parameters are known.
import { defaultTenant, type Scope, scopes } from "@glimpse/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openTestApp } from "../testing.ts";

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

/** The route's path with the job of the tenant `owner` in it. */
function pathOf({ path }: Route): string {
  return path.replaceAll(/:(\w+)(\{[^}]*\})?/g, (_, name: string) => {
    if (name === "owner") return "glimpse";
    if (name === "name") return "nano";
    if (name !== "id") throw new Error(`Say what stands for :${name} of ${path}.`);
    if (path.startsWith("/v1/admin/keys")) return "0".repeat(16);
    // The same job by the names that doors have for it.
    if (path.startsWith("/replicate/")) return job.replace("job_", "");
    if (path.startsWith("/v1/responses/")) return job.replace("job_", "resp_");
    return job;
  });
}

async function key(tenant: string, granted: readonly Scope[]) {
  const wanted = { name: "test", tenant, scopes: [...granted], expires_at: null };
  return open.apiKeys.create(wanted);
}

const body = JSON.stringify({ prompt: "What?" });

async function ask(route: Route, credential: string | null): Promise<Response> {
  const { method } = route;
  const hasBody = method !== "GET" && method !== "DELETE";
  return open.app.request(pathOf(route), {
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
  const response = await open.app.request("/v1/jobs", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${owner.key}` },
    body: JSON.stringify({ prompt: "What?", metadata: { mark: "of-the-owner" } }),
  });
  job = ((await response.json()) as { id: string }).id;
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

  test("shows nothing of another tenant's job, nor whether there is one", async () => {
    const stranger = await key("stranger", scopes);
    const answer = await ask(route, stranger.key);
    const text = await answer.text();
    expect(text).not.toContain("of-the-owner");
    if (!route.path.includes(":id") || route.path.startsWith("/v1/admin/")) {
      expect(text).not.toContain(job);
      return;
    }
    // A job of one's own making under a taken id is refused as for any id that is taken.
    if (route.name === "PUT /v1/jobs/:id") return expect(answer.status).toBe(422);
    expect(answer.status).toBe(404);
    const owned = job;
    job = `job_0_${"0".repeat(32)}`;
    const unknown = await ask(route, stranger.key);
    job = owned;
    const comparable = (json: string) => ({ ...(JSON.parse(json) as object), request_id: "" });
    expect(comparable(await unknown.text())).toEqual(comparable(text));
  });
});

test("the owner's job is untouched by all that", async () => {
  expect(await open.ledger.read(job, "owner")).toMatchObject({ state: "queued" });
  expect(await open.ledger.read(job, "stranger")).toBeNull();
  expect(await open.ledger.read(job, defaultTenant)).toBeNull();
});

// Spellings that some routers and proxies take for the same path.
const spellings = (id: string) =>
  [
    "//v1/jobs/ID",
    "/v1//jobs/ID",
    "/v1/jobs//ID",
    "/./v1/jobs/ID",
    "/v1/./jobs/ID",
    "/v1/../v1/jobs/ID",
    "/healthz/../v1/jobs/ID",
    "/healthz/..%2Fv1/jobs/ID",
    "/healthz%2F..%2Fv1%2Fjobs%2FID",
    "/samples/%2e%2e/v1/jobs/ID",
    "/v1%2Fjobs%2FID",
    "/v1/jobs%2FID",
    "/%761/jobs/ID",
    "/v1/%6Aobs/ID",
    "/V1/jobs/ID",
    "/v1/JOBS/ID",
    "/v1/jobs/ID/",
    "/v1/jobs/ID%00",
    "/v1/jobs/ID;x=1",
    "/v1/jobs/ID%3Ftoken=x",
    "/v1/jobs/ID?/healthz",
    "/v1/jobs/ID#/healthz",
    "/v1/jobs/ID/events/../../ID",
    "/v1/admin/../jobs/ID",
    "\\v1\\jobs\\ID",
    "/v1/jobs/ID/%2e%2e/ID",
    "/v1/admin%2fkeys",
    "/v1/ADMIN/keys",
    "/v1//admin/keys",
    "/v1/x/../admin/keys",
    "/v1/admin/./keys",
    "/v1/admin/keys/",
    "/healthz/../v1/admin/keys",
    "/openapi.json/../v1/admin/keys",
    "/openapi.json;/../v1/admin/keys",
  ].map((spelling) => spelling.replaceAll("ID", id));

test("no spelling of a path gives more than the path does", async () => {
  const reader = await key("stranger", ["jobs:read"]);
  for (const spelling of spellings(job)) {
    for (const method of ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"]) {
      for (const credential of [null, reader.key]) {
        const answer = await open.app.request(`http://localhost${spelling}`, {
          method,
          headers: credential === null ? {} : { Authorization: `Bearer ${credential}` },
        });
        const text = await answer.text();
        const what = `${method} ${spelling}, ${credential === null ? "nobody" : "a stranger"}`;
        expect([401, 403, 404, 405], what).toContain(answer.status);
        expect(text, what).not.toContain("of-the-owner");
      }
    }
  }
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
