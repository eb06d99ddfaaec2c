/**
 * URLs that must never lead anywhere, for tests of all places that take a URL. Not for production.
 * Sources of the tricks: WHATWG URL's host parser, RFC 6890's registries, and what others' guards have let through.
 */

/** IPv4 addresses inside: this machine, its network, and clouds' metadata. */
const inside4 = (
  "127.0.0.1 0.0.0.0 127.255.1.2 169.254.169.254 10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 100.100.100.200 " +
  "192.0.0.192 168.63.129.16 198.18.0.1 224.0.0.1 240.0.0.1 255.255.255.255"
).split(" ");

/** Every way of writing an IPv4 address that URL parsers know. */
function spellings4(address: string): string[] {
  const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
  const whole = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  const hex = (n: number) => `0x${n.toString(16)}`;
  const octal = (n: number) => `0${n.toString(8)}`;
  const wide = address.replaceAll(/\d/g, (digit) => String.fromCodePoint(0xff10 + Number(digit)));
  const escaped = address.replaceAll(/./g, (c) => `%${c.charCodeAt(0).toString(16)}`);
  return [
    address,
    `${address}.`,
    `${whole}`,
    hex(whole),
    hex(whole).toUpperCase(),
    `0x00000000${whole.toString(16)}`,
    octal(whole),
    `000${whole.toString(8)}`,
    [a, b, c, d].map(hex).join("."),
    [a, b, c, d].map(octal).join("."),
    [a, b, c, d].map((n) => n.toString(8).padStart(7, "0")).join("."),
    `${hex(a)}.${octal(b)}.${c}.${hex(d)}`,
    `${a}.${b}.${c * 256 + d}`,
    `${a}.${(b * 256 + c) * 256 + d}`,
    `${hex(a)}.${(b * 256 + c) * 256 + d}`,
    wide,
    address.replaceAll(".", "\u3002"),
    address.replaceAll(".", "\uff0e"),
    address.replaceAll(".", "%2e"),
    escaped,
    `\u00ad${address}`,
  ];
}

/** The same addresses in IPv6's clothes. */
function spellings6(address: string): string[] {
  const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
  const high = ((a << 8) | b).toString(16);
  const low = ((c << 8) | d).toString(16);
  return [
    `[::ffff:${address}]`,
    `[::FFFF:${high}:${low}]`,
    `[0:0:0:0:0:ffff:${high}:${low}]`,
    `[::${address}]`,
    `[::${high}:${low}]`,
    `[::ffff:0:${high}:${low}]`,
    `[64:ff9b::${address}]`,
    `[64:ff9b:1::${high}:${low}]`,
    `[2002:${high}:${low}::]`,
    `[2001:0:${high}:${low}::1]`,
  ];
}

const inside6 = [
  ..."[::1] [::] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0001] [0::1]".split(
    " ",
  ),
  ..."[fe80::1] [fe80::1%25lo] [fc00::1] [fd00:ec2::254] [fd20:ce::254] [fec0::1] [ff02::1] [100::1]".split(
    " ",
  ),
  ..."[2001:db8::1] [2001:20::1] [3fff::1] [4000::1] [5f00::1] [::1%25lo] [::ffff:127.1]".split(
    " ",
  ),
];

/** Hosts that are, or stand for, something inside; more than 300. */
export const insideHosts: readonly string[] = [
  ...new Set([
    ...inside4.slice(0, 4).flatMap(spellings4),
    ...inside4.flatMap((address) => spellings4(address).slice(0, 9)),
    ...inside4.slice(0, 6).flatMap(spellings6),
    ...inside4.slice(6).flatMap((address) => spellings6(address).slice(0, 5)),
    ...inside6,
    ..."0 1 127.1 127.0.1 0x7f.1 0177.1 0x7f.0x1 0177.0.0.01 127.0.0.1.. 127.1.".split(" "),
  ]),
];

/** Names that mean this machine, or a cloud's metadata, to whoever asks the system. */
export const insideNames: readonly string[] = [
  ..."localhost localhost. LOCALHOST LocalHost a.localhost localhost.localdomain".split(" "),
  ..."ip6-localhost ip6-loopback metadata.google.internal metadata instance-data kubernetes".split(
    " ",
  ),
  "loc\u00adalhost",
  "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
  "%6cocalhost",
];

/** URLs in which parsers see different hosts, or none. All of them mean this machine's `port` to somebody. */
export function trickyUrls(port: number): string[] {
  const here = `127.0.0.1:${port}`;
  return [
    ...[
      "user@",
      "user:secret@",
      ":@",
      "@",
      "example.com@",
      "example.com:80@",
      "example.com%2f@",
    ].map((user) => `http://${user}${here}/a.png`),
    `http://user@[::1]:${port}/a.png`,
    `http://${here}#@example.invalid/a.png`,
    `http://${here}?@example.invalid/a.png`,
    `http://${here}\\@example.invalid/a.png`,
    `http://example.invalid\\@${here}/a.png`,
    `http://example.invalid#@${here}/a.png`,
    `http://example.invalid?@${here}/a.png`,
    `http://example.invalid;@${here}/a.png`,
    `http://example.invalid&@${here}/a.png`,
    `http://${here}%23@example.invalid/a.png`,
    `http://example.invalid:80:${port}@${here}/`,
    `http:\\\\${here}\\a.png`,
    `http:/\\${here}/a.png`,
    `http:/${here}/a.png`,
    `http:${here}/a.png`,
    `http:///${here}/a.png`,
    `http:////${here}/a.png`,
    `hTtP://${here}/a.png`,
    `//${here}/a.png`,
    `\\\\${here}\\a.png`,
    `/\\${here}/a.png`,
    ` http://${here}/a.png`,
    `http://${here}/a.png\n`,
    `\thttp://${here}/a.png`,
    `\u0001http://${here}/a.png`,
    `\ufeffhttp://${here}/a.png`,
    `ht\ntp://${here}/a.png`,
    `http://127.0.\t0.1:${port}/a.png`,
    `http://127.0.0.1:${port}\r\nHost: example.com/`,
    `http://127.0.0.1:${port}/a.png HTTP/1.1\r\nX: y`,
    `http://127.0.0.1:0${port}/a.png`,
    `http://127.0.0.1:00000${port}/a.png`,
    `http://127.0.0.1:${port + 65_536}/a.png`,
    `http://127.0.0.1:+${port}/a.png`,
    `http://127.0.0.1:${port}:80/a.png`,
    `http://[127.0.0.1]:${port}/a.png`,
    `http://[::1:${port}/a.png`,
    `http://::1:${port}/a.png`,
    `http://0x7f000001:${port}@example.invalid@${here}/`,
    `http://127.0.0.1%00.example.invalid:${port}/a.png`,
    `http://127.0.0.1%0d%0a:${port}/a.png`,
    `http://127.0.0.1%20:${port}/a.png`,
    ...[
      "ftp",
      "gopher",
      "dict",
      "ldap",
      "tftp",
      "ws",
      "wss",
      "sftp",
      "redis",
      "http+unix",
      "xhttp",
    ].map((scheme) => `${scheme}://${here}/a.png`),
    ...[
      "blob:http",
      "view-source:http",
      "jar:http",
      "url:http",
      "feed:http",
      "filesystem:http",
    ].map((scheme) => `${scheme}://${here}/a.png`),
    "file:///etc/passwd",
    `file://${here}/etc/passwd`,
    "file:/proc/self/environ",
    "about:blank",
    "javascript:alert(1)",
    "mailto:a@example.com",
    "unix:/var/run/docker.sock",
    "http://",
    "http:",
    ":",
  ];
}
