/** All nasty pictures that are made on purpose; mutate.ts makes those of chance. */
import { brokenJpegs } from "./broken-jpeg.ts";
import { brokenPngs } from "./broken-png.ts";
import { brokenWebps } from "./broken-webp.ts";
import { foreignFormats, polyglots, truncated } from "./formats.ts";
import type { Honest } from "./honest.ts";
import type { Nasty } from "./nasty.ts";
import { animations, bombs, orientations, sides } from "./sizes.ts";

export async function nastyPictures(honest: Honest[]): Promise<Nasty[]> {
  return [
    ...honest.map(([name, bytes]): Nasty => ({ id: "I9", name, bytes, right: "fine" })),
    ...honest.flatMap(truncated),
    ...honest.flatMap(polyglots),
    ...(await foreignFormats(honest)),
    ...bombs(),
    ...animations(honest),
    ...sides(),
    ...(await orientations()),
    ...brokenPngs(),
    ...brokenJpegs(honest),
    ...brokenWebps(honest),
  ];
}
