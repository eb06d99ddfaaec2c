/**
 * The same with Replicate's official client: only its base URL is another.
 *   node examples/replicate.ts [PICTURE] [QUESTION]
 */
import { readFile } from "node:fs/promises";
import Replicate from "replicate";

const [picture = "apps/api/public/samples/shapes.png", prompt = "Describe the picture."] =
  process.argv.slice(2);
const { BASE_URL = "http://127.0.0.1:8080", GLIMPSE_KEY = "unused" } = process.env;

const replicate = new Replicate({
  auth: GLIMPSE_KEY,
  baseUrl: `${BASE_URL}/replicate/v1`,
  // Answers are text: one that begins like a URL is not to be fetched.
  useFileOutput: false,
});
const image = await readFile(picture);
console.log(await replicate.run("glimpse/nano", { input: { prompt, image } }));
