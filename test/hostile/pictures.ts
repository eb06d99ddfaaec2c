/**
 * Nasty pictures through the real API and the real worker: each gets its code, in time, and neither process grows or
 * dies. The full size sends `mutations` more that chance has made.
 */
import { readdir, readFile } from "node:fs/promises";
import { job, problem } from "@glimpse/contracts";
import { createRandom } from "../support/random.ts";
import { nastyPictures } from "./pictures/all.ts";
import { honestPictures } from "./pictures/honest.ts";
import { mutate } from "./pictures/mutate.ts";
import type { Nasty } from "./pictures/nasty.ts";
import type { Answer, Part, Row, Size, Stage, Target } from "./rows.ts";

/** Any of these may be said of a picture by whoever finds it: the API by its header, the worker when it decodes it. */
const codes = [
  "invalid_image",
  "unsupported_image_media_type",
  "empty_image_file",
  "image_file_too_large",
  "image_too_small",
  "image_too_large",
  "image_aspect_ratio",
  "image_too_many_frames",
  "context_too_long",
];
const mostMs = 2_000;
const mostGrowthBytes = 400 * 2 ** 20;

/** `null` for a picture that was looked at; the code of its refusal; or what happened instead. */
function outcomeOf({ status, body }: Answer): { code: string | null } | { strange: string } {
  if (status !== 200) return { code: problem.safeParse(JSON.parse(body)).data?.code ?? "none" };
  const ended = job.parse(JSON.parse(body));
  if (ended.state === "succeeded") return { code: null };
  return ended.state === "failed"
    ? { code: ended.error?.code ?? "none" }
    : { strange: `the job is ${ended.state}` };
}

function complaint(answer: Answer, right: Nasty["right"]): string | null {
  const outcome = outcomeOf(answer);
  if ("strange" in outcome) return outcome.strange;
  const { code } = outcome;
  if (code === null) return right === "fine" || right === "any" ? null : "taken for a picture";
  if (right === "fine") return `refused: ${code}`;
  return (right === "any" ? codes : right).includes(code) ? null : `refused with ${code}`;
}

/** As a data URL or as a file of a form, with a type that says nothing true. */
async function ask(target: Target, bytes: Buffer, asForm: boolean): Promise<Answer> {
  if (!asForm) {
    const url = `data:image/png;base64,${bytes.toString("base64")}`;
    return target.post("/v1/infer", { prompt: "?", images: [url], options: { max_tokens: 1 } });
  }
  const form = new FormData();
  form.set("prompt", "?");
  form.set("options", JSON.stringify({ max_tokens: 1 }));
  form.set("image", new Blob([new Uint8Array(bytes)], { type: "image/webp" }), "a.svg");
  return target.request("/v1/infer", { method: "POST", body: form });
}

export const pictures: Part = {
  name: "pictures",
  async prepare({ size, seed, mutations }: Size): Promise<Stage> {
    const random = createRandom(seed);
    const honest = await honestPictures();
    const bytesOf = honest.map(([, bytes]) => bytes);
    const nasty = await nastyPictures(honest);
    const all: Nasty[] = [
      ...nasty.filter(() => size === "full" || random.chance(0.3)),
      ...Array.from({ length: mutations }, (_, i): Nasty => ({
        id: "I1",
        name: `mutation ${i} of seed ${seed}`,
        bytes: mutate(bytesOf, random),
        right: "any",
      })),
    ];
    const late: string[] = [];
    let processes: number[] = [];
    let before: number[] = [];

    const rows = all.map(({ id, name, bytes, right }, i): Row => {
      const asForm = bytes.length > 0 && random.chance(0.3);
      return {
        id,
        name,
        async send(target) {
          // What all have once they have seen a few.
          if (i === 50) before = await Promise.all(processes.map(residentBytes));
          const started = performance.now();
          const answer = await ask(target, bytes, asForm);
          const ms = performance.now() - started;
          if (ms > mostMs) late.push(`${name} took ${Math.round(ms)} ms`);
          return answer;
        },
        status: [200, 413, 422],
        check: (answer) => complaint(answer, right),
      };
    });

    return {
      rows,
      async started(pids) {
        const workers = await childrenOf(pids.worker);
        processes = [pids.api, ...workers];
      },
      async findings() {
        const after = await Promise.all(processes.map(residentBytes));
        const grown = after.map((bytes, i) => bytes - (before[i] ?? 0));
        return [
          // A run among others on a busy machine says nothing about time.
          ...(size === "full" ? late : []),
          ...grown
            .filter((bytes) => bytes > mostGrowthBytes)
            .map((bytes) => `a process has grown by ${Math.round(bytes / 2 ** 20)} MB`),
        ];
      },
    };
  },
};

/** As Linux tells it. */
async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
}

async function childrenOf(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`);
  const lists = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, "utf8")),
  );
  return lists.join(" ").trim().split(/\s+/).filter(Boolean).map(Number);
}
