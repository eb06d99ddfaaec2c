/**
 * Asks about a picture with the TypeScript client, and prints the answer as it comes.
 *   node examples/ask.ts [PICTURE] [QUESTION]
 */
import { readFile } from "node:fs/promises";
import { createClient } from "@glimpse/client";

const [picture = "apps/api/public/samples/shapes.png", prompt = "Describe the picture."] =
  process.argv.slice(2);
const { BASE_URL: baseUrl = "http://127.0.0.1:8080", GLIMPSE_KEY: apiKey } = process.env;

const client = createClient({ baseUrl, ...(apiKey !== undefined && { apiKey }) });
const data = (await readFile(picture)).toString("base64");
const images = [{ data, media_type: "image/png" }];
const { id } = await client.submit({ prompt, images });

// Goes on by itself when the connection is lost.
for await (const event of client.stream(id)) {
  if (event.type === "delta") process.stdout.write(event.text);
  // Another worker has taken over and begins again.
  if (event.type === "reset") process.stdout.write("\n");
}
const { state, usage, timings } = await client.get(id);
process.stdout.write("\n");
console.error({ state, usage, timings });
