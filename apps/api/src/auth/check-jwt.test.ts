// Tokens: what an attacker can make of one, each refused like all others.
import { createHmac, generateKeyPairSync, sign as signBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTestApp } from "../testing.ts";

const issuer = "https://issuer.example/";
const audience = "glimpse";
const [rsa, otherRsa] = [1, 2].map(() => generateKeyPairSync("rsa", { modulusLength: 2048 })) as [
  Keys,
  Keys,
];
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
type Keys = ReturnType<typeof ecKeys>;
function ecKeys() {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}
const secret = "a secret of thirty-two characters";

/** An issuer's key set, with how often it was asked for; `fails` has it answer with 500. */
const keySet = { asked: 0, fails: false, keys: [] as object[] };
const issuerServer = createServer((_, response) => {
  keySet.asked++;
  response.statusCode = keySet.fails ? 500 : 200;
  response.end(JSON.stringify({ keys: keySet.keys }));
});

let byKeySet: Awaited<ReturnType<typeof openTestApp>>;
let bySecret: Awaited<ReturnType<typeof openTestApp>>;
let url: string;
const common = { AUTH: "keys,jwt", JWT_ISSUER: issuer, JWT_AUDIENCE: audience };
beforeAll(async () => {
  keySet.keys = [
    { ...(await exportJWK(rsa.publicKey)), kid: "rsa", use: "sig" },
    { ...(await exportJWK(ec.publicKey)), kid: "ec", use: "sig", alg: "ES256" },
  ];
  await new Promise<void>((resolve) => issuerServer.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(issuerServer.address() as AddressInfo).port}/keys`;
  byKeySet = await openTestApp({}, { ...common, JWT_JWKS_URL: url, JWT_REQUIRED_CLAIMS: "sub" });
  bySecret = await openTestApp({}, { ...common, JWT_SECRET: secret });
});
afterAll(async () => {
  await Promise.all([byKeySet.close(), bySecret.close()]);
  issuerServer.close();
});

const now = () => Math.floor(Date.now() / 1_000);
const good = () => ({
  iss: issuer,
  aud: audience,
  sub: "someone",
  tenant: "acme",
  scope: "openid jobs:read",
  iat: now(),
  exp: now() + 60,
});
const rs256 = { alg: "RS256", kid: "rsa" };

const base64 = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** A token signed whatever its header says. */
function forge(header: object, payload: unknown, sign: (input: Buffer) => Buffer): string {
  const input = `${base64(header)}.${base64(payload)}`;
  return `${input}.${sign(Buffer.from(input)).toString("base64url")}`;
}
const byRsa =
  (key: Keys = rsa, hash = "sha256") =>
  (input: Buffer) =>
    signBytes(hash, input, key.privateKey);
const byHmac =
  (key: string | Buffer, hash = "sha256") =>
  (input: Buffer) =>
    createHmac(hash, key).update(input).digest();
const rsaToken = (changes: object, header: object = rs256) =>
  forge(header, { ...good(), ...changes }, byRsa());

function ask(open: typeof byKeySet, token: string, path = "/v1/jobs"): Promise<Response> {
  return Promise.resolve(open.app.request(path, { headers: { Authorization: `Bearer ${token}` } }));
}

test("a good token is accepted, and says whose jobs and what may be done", async () => {
  expect((await ask(byKeySet, rsaToken({}))).status).toBe(200);
  expect((await ask(byKeySet, rsaToken({ scope: ["jobs:read"] }))).status).toBe(200);
  expect((await ask(byKeySet, rsaToken({ aud: ["other", audience] }))).status).toBe(200);
  expect((await ask(byKeySet, rsaToken({ scope: "jobs:write" }))).status).toBe(403);
  expect((await ask(byKeySet, rsaToken({ scope: undefined }))).status).toBe(403);
  const es256 = await new SignJWT(good())
    .setProtectedHeader({ alg: "ES256", kid: "ec" })
    .sign(ec.privateKey);
  expect((await ask(byKeySet, es256)).status).toBe(200);
  expect((await ask(bySecret, forge({ alg: "HS256" }, good(), byHmac(secret)))).status).toBe(200);
});

const publicPem = rsa.publicKey.export({ type: "spki", format: "pem" });
const attacks: Record<string, () => string> = {
  "no algorithm": () => forge({ alg: "none" }, good(), () => Buffer.alloc(0)),
  "no algorithm, in other letters": () => forge({ alg: "nOnE" }, good(), () => Buffer.alloc(0)),
  "no signature": () => `${rsaToken({}).split(".").slice(0, 2).join(".")}.`,
  "the public key as a secret": () =>
    forge({ alg: "HS256", kid: "rsa" }, good(), byHmac(publicPem)),
  "an empty secret": () => forge({ alg: "HS256", kid: "rsa" }, good(), byHmac("")),
  "another's key": () => forge(rs256, good(), byRsa(otherRsa)),
  "a key that it brings along": () =>
    forge({ ...rs256, jwk: otherRsa.publicKey.export({ format: "jwk" }) }, good(), byRsa(otherRsa)),
  "a key set that it names": () =>
    forge({ ...rs256, jku: "https://evil.example/keys" }, good(), byRsa(otherRsa)),
  "a certificate that it brings along": () =>
    forge({ ...rs256, x5c: ["AAAA"], x5u: "https://evil.example/c" }, good(), byRsa(otherRsa)),
  "a key's name that is a path": () =>
    forge({ alg: "HS256", kid: "../../../../dev/null" }, good(), byHmac("")),
  "an unknown key's name": () => rsaToken({}, { alg: "RS256", kid: "unknown" }),
  "another algorithm than the key's": () => rsaToken({}, { alg: "RS256", kid: "ec" }),
  "an algorithm that is not in the list": () =>
    forge({ alg: "RS512", kid: "rsa" }, good(), byRsa(rsa, "sha512")),
  "a critical extension": () => rsaToken({}, { ...rs256, crit: ["x"], x: 1 }),
  "an unencoded payload": () => rsaToken({}, { ...rs256, b64: false, crit: ["b64"] }),
  "a changed payload": () => {
    const [header, , signature] = rsaToken({}).split(".");
    return `${header}.${base64({ ...good(), tenant: "victim" })}.${signature}`;
  },
  "a changed header": () => {
    const [, payload, signature] = rsaToken({}).split(".");
    return `${base64({ ...rs256, typ: "JWT" })}.${payload}.${signature}`;
  },
  expired: () => rsaToken({ exp: now() - 10 }),
  "no expiry": () => rsaToken({ exp: undefined }),
  "an expiry that is a word": () => rsaToken({ exp: "never" }),
  "not valid yet": () => rsaToken({ nbf: now() + 60 }),
  "made in the future": () => rsaToken({ iat: now() + 60 }),
  "made long ago": () => rsaToken({ iat: now() - 90_000 }),
  "no time of making": () => rsaToken({ iat: undefined }),
  "another issuer": () => rsaToken({ iss: "https://evil.example/" }),
  "an issuer that begins alike": () => rsaToken({ iss: `${issuer}x` }),
  "no issuer": () => rsaToken({ iss: undefined }),
  "another audience": () => rsaToken({ aud: "other" }),
  "an audience that holds ours": () => rsaToken({ aud: `${audience}x` }),
  "no audience": () => rsaToken({ aud: undefined }),
  "a claim that is missing": () => rsaToken({ sub: undefined }),
  "no tenant": () => rsaToken({ tenant: undefined }),
  "a tenant that is no name": () => rsaToken({ tenant: "a:{b}" }),
  "a list of tenants": () => rsaToken({ tenant: ["acme", "victim"] }),
  "a payload that is no object": () => forge(rs256, '"x"', byRsa()),
  "a payload that is no JSON": () => forge(rs256, "{", byRsa()),
  "a header that is no JSON": () => `${base64("{")}.${base64(good())}.AAAA`,
  "empty parts": () => "..",
  "five parts": () => `${rsaToken({})}.AAAA.AAAA`,
  "a signature of another length": () => `${rsaToken({})}AAAA`,
  "a padded signature": () => `${rsaToken({})}==`,
  "a very long one": () => rsaToken({ filler: "x".repeat(9_000) }).slice(0, -4),
};

test.each(Object.keys(attacks))("%s is refused, like everything else", async (name) => {
  const refused = await ask(byKeySet, attacks[name]!());
  const usual = await ask(byKeySet, "x");
  expect(refused.status).toBe(401);
  expect(refused.headers.get("www-authenticate")).toBe(usual.headers.get("www-authenticate"));
  expect({ ...((await refused.json()) as object), request_id: "" }).toEqual({
    ...((await usual.json()) as object),
    request_id: "",
  });
});

test.each([
  ["no algorithm", () => forge({ alg: "none" }, good(), () => Buffer.alloc(0))],
  ["another secret", () => forge({ alg: "HS256" }, good(), byHmac(`${secret}.`))],
  ["an empty secret", () => forge({ alg: "HS256" }, good(), byHmac(""))],
  ["another algorithm", () => forge({ alg: "HS512" }, good(), byHmac(secret, "sha512"))],
  ["an issuer's key", () => rsaToken({})],
])("where a secret signs, %s is refused", async (_, make) => {
  expect((await ask(bySecret, make())).status).toBe(401);
});

test("a link's token is no credential, and a credential no link's token", async () => {
  const sent = {
    headers: { Authorization: `Bearer ${rsaToken({ scope: "jobs:read jobs:write" })}` },
  };
  const made = await byKeySet.app.request("/v1/jobs", {
    method: "POST",
    headers: { ...sent.headers, "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: "What?" }),
  });
  const { links } = (await made.json()) as { links: { self: string } };
  const path = `${links.self}/links`;
  const answer = await byKeySet.app.request(path, { method: "POST", ...sent });
  const { self } = (await answer.json()) as { self: string };
  expect((await byKeySet.app.request(self)).status).toBe(200);
  expect((await ask(byKeySet, self.split("token=")[1]!, links.self)).status).toBe(401);
  const asLink = `${links.self}?token=${rsaToken({})}`;
  expect((await byKeySet.app.request(asLink)).status).toBe(401);
});

test("the issuer is asked once, not for each token nor for each made-up name of a key", async () => {
  const before = keySet.asked;
  for (let i = 0; i < 50; i++) {
    await ask(byKeySet, rsaToken({}));
    await ask(byKeySet, rsaToken({}, { alg: "RS256", kid: `unknown-${i}` }));
  }
  expect(keySet.asked).toBe(before);
});

test("an issuer that does not answer is left alone, which is said as an outage and not as a refusal", async () => {
  keySet.fails = true;
  const open = await openTestApp({}, { ...common, JWT_JWKS_URL: url });
  const before = keySet.asked;
  try {
    for (let i = 0; i < 10; i++) {
      const answer = await ask(open, rsaToken({}));
      expect(answer.status).toBe(503);
      expect(await answer.json()).toMatchObject({ code: "unavailable" });
    }
    expect(keySet.asked).toBe(before + 1);
    // An API key does not need it.
    const wanted = { name: "x", tenant: "acme", scopes: ["jobs:read" as const], expires_at: null };
    expect((await ask(open, (await open.apiKeys.create(wanted)).key)).status).toBe(200);
  } finally {
    keySet.fails = false;
    await open.close();
  }
});
