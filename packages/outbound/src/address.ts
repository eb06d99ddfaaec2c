/** Which addresses belong to the public internet, and which are let through besides. */
import ipaddr from "ipaddr.js";

/** All that is given out on IPv6. What lies outside of it may still mean an address inside, such as ::127.0.0.1. */
const globalUnicast6 = ipaddr.IPv6.parseCIDR("2000::/3");

/** Public by its range, but Azure's own platform behind it. Other clouds' metadata lies in ranges that are not public. */
const platformAddress = "168.63.129.16";

/** Whether an address is one that anybody on the internet can reach. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const plain = ipaddr.process(address);
  if (plain.range() !== "unicast" || plain.toString() === platformAddress) return false;
  return plain instanceof ipaddr.IPv4 || plain.match(globalUnicast6);
}

/** Whether the address is one of the list's, or in one of its ranges; names in the list are passed over. */
export function isListedAddress(address: string, list: readonly string[]): boolean {
  if (!ipaddr.isValid(address)) return false;
  const plain = ipaddr.process(address);
  return list.some((entry) => {
    const [first = "", bits] = entry.split("/");
    if (!ipaddr.isValid(first)) return false;
    const range = ipaddr.process(first);
    return (
      range.kind() === plain.kind() &&
      plain.match(range, bits === undefined ? range.toByteArray().length * 8 : Number(bits))
    );
  });
}

/** Whether the name is in the list, or below one of its domains. */
export function isListedName(hostname: string, list: readonly string[]): boolean {
  const name = hostname.replace(/\.$/, "");
  return list.some((entry) => (entry.startsWith(".") ? name.endsWith(entry) : name === entry));
}

/** Whether two spellings mean the same address (::ffff:1.2.3.4 is 1.2.3.4). */
export function isSameAddress(a: string, b: string): boolean {
  return ipaddr.process(a).toString() === ipaddr.process(b).toString();
}
