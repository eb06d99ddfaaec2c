/**
 * URLs that lead inside: spellings, names that lie or change, redirects; and hosts without manners. At every place that
 * takes a URL.
 */
import { isIP } from "node:net";
import { insideHosts, insideNames, startCanaries, trickyUrls } from "@glimpse/outbound/testing";
import { startDnsServer } from "../support/dns-server.ts";
import { createRandom } from "../support/random.ts";
import type { Outside } from "./outside.ts";
import { badManners, outsideAddress, startOutside } from "./outside.ts";
import type { Part, Row, Size, Stage } from "./rows.ts";
import type { UrlTaker } from "./url-takers.ts";
import { urlTakers } from "./url-takers.ts";

type Case = {
  id: "I19" | "I20" | "I21" | "I22" | "I23";
  name: string;
  url: string;
  fine?: true;
  /** What is wrong with it shows only to who sends a request. */
  isBehind?: true;
};

/** Name -> the answers of its name server, one after the other. */
const zone = {
  "good.test": [[outsideAddress]],
  "alias.test": [["cname:good.test", outsideAddress]],
  "inside4.test": [["127.0.0.1"]],
  "inside6.test": [["::1"]],
  "zero.test": [["0.0.0.0"]],
  "mapped.test": [["::ffff:7f00:1"]],
  "nat64.test": [["64:ff9b::7f00:1"]],
  "metadata.test": [["169.254.169.254"]],
  "azure.test": [["168.63.129.16"]],
  "mixed.test": [[outsideAddress, "127.0.0.1"]],
  "mixed6.test": [[outsideAddress, "::1"]],
  "points-inside.test": [["cname:localhost", "127.0.0.1"]],
  "rebound.test": [[outsideAddress], ["127.0.0.1"]],
  "rebound-twice.test": [[outsideAddress], ["127.0.0.1"]],
  "localhost.test": [["127.0.0.1"]],
};

function cases(port: number, outside: Outside) {
  const at = (host: string, scheme = "http") => `${scheme}://${host}:${port}/a.png`;
  const bad = (id: Case["id"], urls: string[]): Case[] =>
    urls.map((url) => ({ id, name: url, url }));
  const inside = [...insideHosts, ...insideNames];
  const liars = Object.keys(zone).filter((name) => !/^(good|alias|rebound)/.test(name));
  const all: Case[] = [
    ...bad("I19", [...inside.map((host) => at(host)), ...inside.map((host) => at(host, "https"))]),
    ...bad("I22", trickyUrls(port)),
    ...bad(
      "I20",
      liars.flatMap((name) => [at(name), at(`${name}.`), at(name.toUpperCase())]),
    ),
    ...bad("I21", [
      ...inside.map((host) => outside.to(at(host))),
      ...trickyUrls(port).map((url) => outside.to(url)),
      ...liars.map((name) => outside.to(at(name))),
      ...[301, 303, 307, 308].map((status) => outside.to(at("127.0.0.1"), status)),
      outside.to(outside.to(outside.to(at("127.0.0.1")))),
      outside.to(outside.to(outside.to(outside.to(outside.picture)))),
    ]).map((one): Case => ({ ...one, name: `redirect: ${one.name}`, isBehind: true })),
    ...bad(
      "I23",
      Object.keys(badManners).map((path) => `${outside.origin}${path}`),
    ).map((one): Case => ({ ...one, isBehind: true })),
    // Looked up a second time, the name would lead inside.
    { id: "I20", name: "rebound.test, first", url: at("rebound.test"), fine: true },
    { id: "I20", name: "rebound.test, then", url: at("rebound.test") },
    {
      id: "I21",
      name: "rebound-twice.test",
      url: `http://rebound-twice.test:${port}/to?to=/a.png`,
      isBehind: true,
    },
  ];
  const controls: Case[] = [
    { id: "I19", name: "a host outside", url: outside.picture, fine: true },
    { id: "I20", name: "a name outside", url: at("good.test"), fine: true },
    { id: "I20", name: "an alias outside", url: at("alias.test"), fine: true },
    { id: "I21", name: "a redirect outside", url: outside.to(outside.picture), fine: true },
    { id: "I21", name: "a relative one", url: outside.to("/a.png", 308), fine: true },
    {
      id: "I21",
      name: "three of them",
      url: outside.to(outside.to(outside.to(at("good.test")))),
      fine: true,
    },
  ];
  return { all, controls };
}

function rowOf({ id, name, url, fine, isBehind }: Case, taker: UrlTaker): Row {
  const row: Omit<Row, "status"> = {
    id,
    name: `${taker.name}: ${name}`,
    send: (target) => taker.send(target, url),
  };
  if (fine === true) return { ...row, status: taker.fine };
  if (isBehind === true && taker.behind === null) return { ...row, status: taker.fine };
  if (taker.unreachable === null) {
    const status = isNameOfNobody(url) ? [422, taker.fine].flat() : 422;
    return { ...row, status, code: taker.refused };
  }
  const behind = (isBehind && taker.behind) ?? [];
  return { ...row, status: [413, 422], code: [taker.refused, taker.unreachable, ...behind] };
}

/** Whether the URL leads to a name, and no name server knows it. */
function isNameOfNobody(text: string): boolean {
  const host = URL.parse(text)?.hostname ?? "";
  const isName = host !== "" && isIP(host.replace(/^\[|\]$/g, "")) === 0;
  return isName && !Object.hasOwn(zone, host.replace(/\.$/, ""));
}

/** Every case at every place; the small size takes a sample, each case at one place. */
function choose(all: Case[], { size, seed }: Size): Row[] {
  const random = createRandom(seed);
  // A name that changes can be asked for once only.
  const changing = (one: Case) => /rebound/.test(one.url);
  return all.flatMap((one) => {
    if (changing(one)) return [rowOf(one, urlTakers[0]!)];
    if (size === "full") return urlTakers.map((taker) => rowOf(one, taker));
    return random.chance(0.3) ? [rowOf(one, random.pick(urlTakers))] : [];
  });
}

export const ssrf: Part = {
  name: "ssrf",
  async prepare(size): Promise<Stage> {
    const canaries = await startCanaries();
    const outside = await startOutside(canaries.port);
    const dns = await startDnsServer(zone);
    const { all, controls } = cases(canaries.port, outside);
    return {
      env: {
        OUTBOUND_PORTS: "any",
        OUTBOUND_ALLOW: outsideAddress,
        OUTBOUND_DNS: dns.address,
        IMAGE_FETCH_TIMEOUT_MS: "1500",
        MAX_IMAGE_BYTES: "1000000",
      },
      atOnce: 4,
      rows: [
        ...choose(all, size),
        ...controls.flatMap((one) => urlTakers.map((taker) => rowOf(one, taker))),
      ],
      async findings() {
        const reached = canaries.touched.length;
        await Promise.all(
          canaries.addresses.map((host) =>
            fetch(`http://${host.includes(":") ? `[${host}]` : host}:${canaries.port}`).catch(
              () => {},
            ),
          ),
        );
        const seen = canaries.touched.length - reached;
        return [
          ...(reached > 0 ? [`${reached} connections to what is inside`] : []),
          ...(seen === canaries.addresses.length ? [] : ["a canary does not notice its visitors"]),
        ];
      },
      close() {
        canaries.close();
        outside.close();
        dns.close();
      },
    };
  },
};
