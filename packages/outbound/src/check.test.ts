import { expect, test } from "vitest";
import { isPublicAddress } from "./address.ts";
import { checkHost, checkUrl } from "./check.ts";
import type { OutboundPolicy } from "./policy.ts";
import { policyFrom } from "./policy.ts";

const strict: OutboundPolicy = policyFrom({
  OUTBOUND_ALLOW: [],
  OUTBOUND_PORTS: [80, 443],
  OUTBOUND_HTTP: true,
  OUTBOUND_DNS: [],
});
const anyPort: OutboundPolicy = { ...strict, ports: "any" };

test("ordinary URLs of the public internet pass, parsed once", () => {
  for (const text of [
    "https://example.com/a.png?b=c#d",
    "http://example.com",
    "HTTPS://Example.COM:443/%2e%2e/a",
    "https://bücher.example/ä.jpg",
    "http://93.184.216.34/",
    "https://[2606:2800:220:1:248:1893:25c8:1946]/",
  ])
    expect(checkUrl(text, strict).href, text).toBe(new URL(text).href);
});

test("schemes, users, ports and what is no URL", () => {
  for (const text of [
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://example.com/",
    "blob:https://example.com/x",
    "javascript:alert(1)",
    "data:image/png;base64,AAAA",
    "//example.com/",
    "example.com",
    "",
    "https://",
    "https://user@example.com/",
    "https://:secret@example.com/",
    "https://example.com:22/",
    "https://example.com:6379/",
    "http://example.com:8080/",
    "https://example.com\\@127.0.0.1/",
    "https:\\\\example.com/",
    "https://exa\tmple.com/",
    " https://example.com/",
    "https://example.com/\n",
    "https://example.com/\u0000",
    `https://example.com/${"a".repeat(9_000)}`,
    "https://1.2.3.4.5/",
    "https://256.1.1.1/",
    "https://[::1/",
    "https://[::ffff:1.2.3.4%25eth0]/",
  ])
    expect(() => checkUrl(text, strict), text).toThrow(/^the (URL|host) /);
  const safe = { ...strict, protocols: ["https:"] };
  expect(() => checkUrl("http://example.com/", safe)).toThrow("does not begin with https://");
});

test("public means reachable by anybody", () => {
  for (const address of ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "1.1.1.1"])
    expect(isPublicAddress(address)).toBe(true);
  for (const address of [
    ..."0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.255 169.254.169.254".split(
      " ",
    ),
    ..."172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1".split(
      " ",
    ),
    ..."224.0.0.1 240.0.0.1 255.255.255.255 168.63.129.16 ::ffff:168.63.129.16 ::ffff:10.0.0.1".split(
      " ",
    ),
    ...":: ::1 ::127.0.0.1 ::7f00:1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::7f00:1 100::1".split(
      " ",
    ),
    ..."2001::1 2001:db8::1 2002:7f00:1:: 3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1".split(
      " ",
    ),
    "nonsense",
    "",
  ])
    expect(isPublicAddress(address), address).toBe(false);
});

test("the list lets private addresses through, and nothing beside them", async () => {
  const allow = ["10.1.0.0/16", "192.168.0.5", "fd12::/16", "minio.local", ".corp.example"];
  const policy = { ...anyPort, allow, resolve: async () => ["10.9.9.9"] };
  for (const host of ["10.1.2.3", "192.168.0.5", "[fd12::1]", "[::ffff:10.1.2.3]"])
    expect(checkUrl(`http://${host}:9000/`, policy).port).toBe("9000");
  for (const host of ["10.2.0.1", "192.168.0.6", "[fd13::1]", "127.0.0.1"])
    expect(() => checkUrl(`http://${host}:9000/`, policy), host).toThrow("public internet");
  const of = (host: string) => checkHost(checkUrl(`https://${host}/`, policy), policy);
  for (const host of ["minio.local", "MINIO.local", "minio.local.", "a.corp.example"])
    expect(await of(host), host).toEqual(["10.9.9.9"]);
  for (const host of ["xminio.local", "minio.local.evil.example", "corp.example", "xcorp.example"])
    await expect(of(host), host).rejects.toThrow("public internet");
});

test("one private address among several is enough to refuse", async () => {
  const policy = { ...strict, resolve: async () => ["93.184.216.34", "2606:2800:220:1::1", "::1"] };
  await expect(checkHost(checkUrl("https://a.example/", policy), policy)).rejects.toMatchObject({
    reason: "not_allowed",
  });
});

test("names that only this machine knows are not strangers' names", async () => {
  for (const name of ["localhost", "localhost.", "a.localhost"]) {
    const url = checkUrl(`http://${name}/`, strict);
    await expect(checkHost(url, strict, AbortSignal.timeout(9_000)), name).rejects.toThrow(
      /^the host /,
    );
  }
  const listed = { ...strict, allow: ["localhost"] };
  const addresses = await checkHost(checkUrl("http://localhost/", listed), listed);
  expect(addresses).toContain("127.0.0.1");
});
