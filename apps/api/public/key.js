// The key that the page asks with, where the API wants one: kept for as long as the tab is open.

const name = "glimpse-key";

/** The key, or an empty string. */
export function readKey() {
  return sessionStorage.getItem(name) ?? "";
}

/** Keeps a key, or forgets it when it is empty. */
export function keepKey(key) {
  if (key) sessionStorage.setItem(name, key);
  else sessionStorage.removeItem(name);
}
