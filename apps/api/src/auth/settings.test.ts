import { expect, test } from "vitest";
import { readConfig } from "../config.ts";

const jwt = { AUTH: "jwt", JWT_ISSUER: "https://issuer.example", JWT_AUDIENCE: "a, b" };
const secret = "s".repeat(32);
const url = "https://issuer.example/keys";

test("tokens have safe settings of their own", () => {
  expect(readConfig({ ...jwt, JWT_JWKS_URL: url }).auth).toMatchObject({
    keys: false,
    jwt: {
      keys: { url: new URL(url) },
      algorithms: ["RS256", "PS256", "ES256", "EdDSA"],
      audience: ["a", "b"],
      tenantClaim: "tenant",
      scopesClaim: "scope",
      maxAgeS: 86_400,
    },
  });
  const { auth } = readConfig({ ...jwt, AUTH: "keys,jwt", HOST: "0.0.0.0", JWT_SECRET: secret });
  expect(auth).toMatchObject({ keys: true, jwt: { algorithms: ["HS256"] } });
});

test.each([
  ["neither an issuer's keys nor a secret", { ...jwt }, "either"],
  ["both", { ...jwt, JWT_JWKS_URL: url, JWT_SECRET: secret }, "either"],
  ["no issuer", { ...jwt, JWT_SECRET: secret, JWT_ISSUER: "" }, "JWT_ISSUER"],
  ["no audience", { ...jwt, JWT_SECRET: secret, JWT_AUDIENCE: "" }, "JWT_AUDIENCE"],
  ["a short secret", { ...jwt, JWT_SECRET: "s".repeat(31) }, "JWT_SECRET"],
  ["keys over plain HTTP", { ...jwt, JWT_JWKS_URL: "http://issuer.example/" }, "https"],
  ["keys in a file", { ...jwt, JWT_JWKS_URL: "file:///etc/keys" }, "JWT_JWKS_URL"],
  ["no algorithm", { ...jwt, JWT_JWKS_URL: url, JWT_ALGORITHMS: "none" }, "JWT_ALGORITHMS"],
  [
    "a secret's with keys",
    { ...jwt, JWT_JWKS_URL: url, JWT_ALGORITHMS: "HS256" },
    "JWT_ALGORITHMS",
  ],
  [
    "keys' with a secret",
    { ...jwt, JWT_SECRET: secret, JWT_ALGORITHMS: "RS256" },
    "JWT_ALGORITHMS",
  ],
  ["an unknown kind", { AUTH: "magic" }, "AUTH"],
  ["none and another", { AUTH: "none,keys" }, "AUTH"],
  ["a short secret of links", { LINK_SECRET: "short" }, "LINK_SECRET"],
])("%s is refused by name, without the secret", (_, env, name) => {
  expect(() => readConfig(env)).toThrow(name);
  expect(() => readConfig(env)).not.toThrow("sssss");
});
