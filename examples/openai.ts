/**
 * The same with OpenAI's official client: only its base URL is another.
 *   node examples/openai.ts [PICTURE] [QUESTION]
 */
import { readFile } from "node:fs/promises";
import OpenAI from "openai";

const [picture = "apps/api/public/samples/shapes.png", question = "Describe the picture."] =
  process.argv.slice(2);
const { BASE_URL = "http://127.0.0.1:8080", GLIMPSE_KEY = "unused" } = process.env;

const client = new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: GLIMPSE_KEY });
const url = `data:image/png;base64,${(await readFile(picture)).toString("base64")}`;
const stream = await client.chat.completions.create({
  model: "nano",
  messages: [
    {
      role: "user",
      content: [
        { type: "image_url", image_url: { url } },
        { type: "text", text: question },
      ],
    },
  ],
  stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");
process.stdout.write("\n");
