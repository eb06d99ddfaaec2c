/** Control tokens in users' text, through the whole path: they are words, and the job ends well (I16). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { createRandom } from "../support/random.ts";
import type { Answer, Part, Row } from "./rows.ts";

const tokenizer = join(import.meta.dirname, "../../models/nano/tokenizer.json");
const file = z.object({ added_tokens: z.array(z.object({ content: z.string() })) });
const controls = file
  .parse(JSON.parse(readFileSync(tokenizer, "utf8")))
  .added_tokens.map(({ content }) => content);

const text = (value: string) => ({ type: "text", text: value });
const user = (content: unknown) => ({ role: "user", content });

/** Where a client can put text. */
const placements: Record<string, (words: string) => object> = {
  prompt: (words) => ({ prompt: words }),
  "part among parts": (words) => ({ messages: [user([text("a"), text(words), text("b")])] }),
  "system message": (words) => ({ messages: [{ role: "system", content: words }, user("hi")] }),
  history: (words) => ({
    messages: [user("hi"), { role: "assistant", content: words }, user("go on")],
  }),
  "halves of parts": (words) => ({
    messages: [user([text(words.slice(0, 2)), text(words.slice(2))])],
  }),
  metadata: (words) => ({ prompt: "hi", metadata: { words } }),
};

const ended = z.object({
  state: z.literal("succeeded"),
  usage: z.object({ image_tokens: z.literal(0) }),
});
const isWell = ({ body }: Answer) =>
  ended.safeParse(JSON.parse(body)).success ? null : `not a good end: ${body.slice(0, 300)}`;

const row = (name: string, body: object): Row => ({
  id: "I16",
  name,
  send: (target) =>
    target.post("/v1/infer", { ...body, options: { max_tokens: 2, temperature: 0 } }),
  status: 200,
  check: isWell,
});

export const prompts: Part = {
  name: "prompts",
  prepare: ({ size, seed, mutations }) => {
    const random = createRandom(seed);
    const fragments = [
      ...controls,
      ...controls.map((token) => token.slice(0, 3)),
      "|",
      "<",
      ">",
      " ",
      "é",
    ];
    const mixed = (count: number) =>
      Array.from({ length: count }, () => random.pick(fragments)).join("");
    const all = controls.flatMap((token) =>
      Object.entries(placements).map(([where, wrap]) => row(`${token} as ${where}`, wrap(token))),
    );
    const some = all.filter((_, i) => i % 7 === 0);
    const fuzz = Array.from({ length: size === "full" ? mutations : 10 }, (_, i) => {
      const [where, wrap] = random.pick(Object.entries(placements));
      return row(`fuzz ${i} as ${where}`, wrap(`x${mixed(random.between(1, 9))}`));
    });
    return { rows: [...(size === "full" ? all : some), ...fuzz] };
  },
};
