// One answer on the page: draws a job's events as they come. Knows nothing of the network.

const $ = (id) => document.getElementById(id);
const state = $("state");
const text = $("text");
const thoughts = $("thoughts");
const reasoning = $("reasoning");
const failure = $("failure");
const figures = $("figures");

/** Tells where the answer stands: `kind` is busy, done, failed or ended. */
export function say(kind, words) {
  state.dataset.kind = kind;
  state.textContent = words;
}

function clearPieces() {
  text.textContent = "";
  thoughts.textContent = "";
  reasoning.hidden = true;
  text.hidden = true;
  failure.hidden = true;
  figures.hidden = true;
}

/** An empty answer, about to be filled. */
export function clear(words) {
  clearPieces();
  again = "";
  reasoning.open = false;
  say("busy", words);
}

/** Why there is no answer: a sentence, and the code to search for. */
export function fail({ code, message }) {
  clearPieces();
  say("failed", "No answer");
  const name = document.createElement("code");
  name.textContent = code;
  failure.replaceChildren(message, " ", name);
  failure.hidden = false;
}

function append(element, box, piece) {
  element.append(piece);
  box.hidden = false;
}

/** Said with the state once a worker was lost. */
let again = "";

const draw = {
  queued: () => say("busy", "Waiting in the queue"),
  running: () => say("busy", `Looking${again}`),
  reset({ attempt }) {
    clearPieces();
    again = `, attempt ${attempt}: the worker before was lost`;
  },
  reasoning({ text: piece }) {
    say("busy", `Thinking${again}`);
    append(thoughts, reasoning, piece);
  },
  delta({ text: piece }) {
    say("busy", `Answering${again}`);
    append(text, text, piece);
  },
  succeeded({ output, usage, timings }) {
    text.textContent = output.text;
    text.hidden = false;
    thoughts.textContent = output.reasoning ?? "";
    reasoning.hidden = !output.reasoning;
    say(
      "done",
      output.finish_reason === "length" ? "Answered, cut at the token limit" : "Answered",
    );
    drawFigures(usage, timings);
  },
  failed: ({ error }) => fail(error),
  canceled: () => say("ended", "Canceled"),
  expired: () => say("failed", "Nobody could answer in time"),
};

/** Draws one event of the log, or the finished job in its place. */
export function drawEvent(event) {
  draw[event.type]?.(event);
}

const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** Where the time went, as a bar of three parts and as numbers. */
function drawFigures(usage, { queue_ms: queue, first_token_ms: first, total_ms: total }) {
  const parts = [queue, first - queue, total - first];
  [...$("bar").children].forEach((part, i) =>
    part.style.setProperty("flex-grow", Math.max(parts[i], 0)),
  );
  const rows = [
    ["In the queue", duration(queue)],
    ["First token", duration(first)],
    ["Total", duration(total)],
  ];
  if (usage) {
    const words = usage.prompt_tokens - usage.image_tokens;
    rows.push([
      "Tokens",
      `${usage.image_tokens} picture + ${words} text → ${usage.completion_tokens}`,
    ]);
  }
  figures.querySelector("dl").replaceChildren(
    ...rows.map(([name, value]) => {
      const row = document.createElement("div");
      row.append(document.createElement("dt"), document.createElement("dd"));
      row.firstChild.textContent = name;
      row.lastChild.textContent = value;
      return row;
    }),
  );
  figures.hidden = false;
}
