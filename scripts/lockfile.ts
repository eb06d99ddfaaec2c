// What pnpm-lock.yaml pins, read line by line: pnpm always writes it in this one form.
export type Pinned = { name: string; version: string; hasIntegrity: boolean };

/** Every package of the lockfile. Throws when there is none: a check of nothing proves nothing. */
export function readLockfile(text: string): Pinned[] {
  const section = /^packages:\n([\s\S]*?)(?=^\S|$(?![\s\S]))/m.exec(text)?.[1] ?? "";
  const pinned = section.split(/\n(?= {2}\S)/).flatMap((entry) => {
    const [, name, version] = /^ *'?(@?[^@'\s]+)@([^':]+.*?)'?:$/m.exec(entry) ?? [];
    if (name === undefined || version === undefined) return [];
    const hasIntegrity = /resolution: \{integrity: sha512-[A-Za-z0-9+/=]{88}\}/.test(entry);
    return [{ name, version, hasIntegrity }];
  });
  if (pinned.length === 0) throw new Error("pnpm-lock.yaml: there are no packages in it");
  return pinned;
}
