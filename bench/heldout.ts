/** The held-out pictures of models/nano: questions with their one right answer. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Engine } from "@glimpse/engine";
import { z } from "zod";

const Case = z.object({
  kind: z.string(),
  image: z.string(),
  question: z.string(),
  answer: z.string(),
});

export type HeldoutCase = Omit<z.infer<typeof Case>, "image"> & { file: string; image: Uint8Array };

/** @param dir cases.jsonl and its pictures, as tools/nano/heldout.py makes them */
export async function readCases(dir: string): Promise<HeldoutCase[]> {
  const lines = (await readFile(join(dir, "cases.jsonl"), "utf8")).trim().split("\n");
  const cases = lines.map((line) => Case.parse(JSON.parse(line)));
  const read = async ({ image: file, ...rest }: (typeof cases)[number]) => ({
    ...rest,
    file,
    image: await readFile(join(dir, file)),
  });
  return Promise.all(cases.map(read));
}

/** The greedy answer about a picture, and the milliseconds from its bytes to the answer's end. */
export async function ask(
  engine: Engine,
  { image, question }: Pick<HeldoutCase, "image" | "question">,
): Promise<{ text: string; tokens: number[]; ms: number }> {
  const start = performance.now();
  const content = [
    { type: "image" as const, image },
    { type: "text" as const, text: question },
  ];
  const request = { messages: [{ role: "user" as const, content }], sampling: { temperature: 0 } };
  let text = "";
  for await (const piece of engine.generate({ ...request, maxTokens: 64 })) {
    if (piece.type === "delta") text += piece.text;
    if (piece.type === "end")
      return { text, tokens: piece.outputTokenIds, ms: performance.now() - start };
  }
  throw new Error("an answer without an end");
}
