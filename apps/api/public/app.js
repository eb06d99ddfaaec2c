// The page: a picture, a question, and what becomes of them.
import { clear, drawEvent, fail, say } from "./answer.js";
import { keepKey, readKey } from "./key.js";
import { cancel, follow, readiness, submit } from "./job.js";

const $ = (id) => document.getElementById(id);
const form = $("form");
const question = $("question");
const thinking = $("thinking");
const askButton = $("ask");
const cancelButton = $("cancel");

/** The chosen picture: {blob, name, url (to show it), sample (its file here, if it is one of ours)}. */
let picture;
/** The job whose answer is awaited. */
let job;
/** The answer on show: {url, prompt, text, totalMs}; the next question moves it to the earlier ones. */
let shown;

// --- The picture -----------------------------------------------------------------------------

function choose(blob, name, sample) {
  const isPicture = blob.type.startsWith("image/");
  $("problem").textContent = `${name} is not a picture.`;
  $("problem").hidden = isPicture;
  if (!isPicture) return;
  picture = { blob, name, sample, url: URL.createObjectURL(blob) };
  const preview = $("preview");
  preview.src = picture.url;
  preview.alt = `Chosen picture: ${name}`;
  preview.hidden = false;
  $("hint").hidden = true;
  for (const button of $("samples").children) {
    button.setAttribute("aria-pressed", String(button.dataset.file === sample));
  }
  showCurl();
}

$("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) choose(file, file.name);
  target.value = ""; // The same file may be chosen again.
});

document.addEventListener("paste", ({ clipboardData }) => {
  const [file] = clipboardData.files;
  if (file) choose(file, file.name);
});

for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", type === "dragover");
    const file = type === "drop" && event.dataTransfer.files[0];
    if (file) choose(file, file.name);
  });
}

async function chooseSample({ file, question: words }) {
  const response = await fetch(`samples/${file}`);
  choose(await response.blob(), file, file);
  question.value = words;
  showCurl();
}

async function offerSamples() {
  const samples = await fetch("samples/samples.json").then((response) => response.json());
  $("samples").append(
    ...samples.map((sample) => {
      const button = document.createElement("button");
      const image = document.createElement("img");
      button.type = "button";
      button.dataset.file = sample.file;
      button.title = sample.question;
      button.setAttribute("aria-pressed", "false");
      image.src = `samples/${sample.file}`;
      image.alt = `Sample: ${sample.question}`;
      button.append(image);
      button.addEventListener("click", () => void chooseSample(sample));
      return button;
    }),
  );
}

// --- The question ----------------------------------------------------------------------------

function setBusy(busy) {
  askButton.disabled = busy;
  cancelButton.hidden = !busy;
  cancelButton.disabled = busy && !job;
}

async function ask() {
  const prompt = question.value.trim();
  if (!picture) return fail({ code: "no_picture", message: "Choose a picture first." });
  if (!prompt) {
    question.focus();
    return fail({ code: "no_question", message: "Ask something about the picture." });
  }
  const { blob, name, url } = picture;
  if (shown) remember(shown);
  shown = undefined;
  clear("Sending the picture");
  setBusy(true);
  try {
    job = await submit(blob, name, prompt, thinking.checked);
    setBusy(true);
    await follow(
      job,
      (event) => {
        drawEvent(event);
        if (event.type !== "succeeded") return;
        shown = { url, prompt, text: event.output.text, totalMs: event.timings.total_ms };
      },
      () => say("busy", "The connection was lost; trying again"),
    );
  } catch (error) {
    if (keyProblems.has(error.code)) wantKey();
    fail(
      error.code ? error : { code: "page_error", message: "The page made a mistake; reload it." },
    );
  } finally {
    job = undefined;
    setBusy(false);
    void showService();
  }
}

/** Refusals that another key may help against. */
const keyProblems = new Set(["unauthenticated", "insufficient_scope"]);

function wantKey() {
  $("key-field").hidden = false;
  $("key").focus();
}

$("key").value = readKey();
$("key-field").hidden = !readKey();
$("key").addEventListener("input", ({ target }) => keepKey(target.value.trim()));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!askButton.disabled) void ask();
});

question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});

cancelButton.addEventListener("click", () => {
  cancelButton.disabled = true;
  cancel(job).catch((error) => {
    cancelButton.disabled = false;
    say("busy", error.message);
  });
});

// --- The same from a shell ---------------------------------------------------------------------

/** As one word for a shell. */
const quote = (words) => `'${words.replaceAll("'", `'\\''`)}'`;

/** As a file's name for curl, which splits plain ones at ; and , */
const fileName = (name) =>
  /[;,"\\]/.test(name) ? `"${name.replaceAll(/["\\]/g, String.raw`\$&`)}"` : name;

function showCurl() {
  const prompt = question.value.trim();
  $("curl").hidden = !picture || !prompt;
  if (!picture || !prompt) return;
  const { origin } = location;
  const options = thinking.checked ? ` \\\n  -F options=${quote('{"thinking":true}')}` : "";
  const image = picture.sample ? "@-;type=image/png" : `@${fileName(picture.name)}`;
  const key = readKey() ? ` \\\n  -H "Authorization: Bearer $KEY"` : "";
  const fetched = picture.sample ? `curl -s ${origin}/samples/${picture.sample} |\n` : "";
  $("curl").querySelector("code").textContent =
    `${fetched}curl -s ${origin}/v1/infer${key} \\\n  -F image=${quote(image)} \\\n  --form-string prompt=${quote(prompt)}${options}`;
}

form.addEventListener("input", showCurl);

async function copyCurl(button) {
  const code = $("curl").querySelector("code");
  // Browsers keep the clipboard from pages that came over plain HTTP from another machine.
  if (navigator.clipboard) await navigator.clipboard.writeText(code.textContent);
  else getSelection().selectAllChildren(code);
  button.textContent = navigator.clipboard ? "Copied" : "Selected";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

$("copy").addEventListener("click", ({ target }) => void copyCurl(target));

// --- Earlier answers, and the service -----------------------------------------------------------

const keptAnswers = 6;

function remember({ url, prompt, text, totalMs }) {
  const list = $("history").querySelector("ol");
  const row = document.createElement("li");
  const image = document.createElement("img");
  const words = document.createElement("div");
  const time = document.createElement("small");
  image.src = url;
  image.alt = "";
  for (const line of [prompt, text]) {
    words.append(document.createElement("p"));
    words.lastChild.textContent = line;
  }
  time.textContent = `${Math.round(totalMs)} ms`;
  row.append(image, words, time);
  list.prepend(row);
  while (list.children.length > keptAnswers) list.lastChild.remove();
  $("history").hidden = false;
}

async function showService() {
  const service = $("service");
  const told = await readiness().catch(() => undefined);
  if (!told) {
    service.dataset.kind = "failed";
    service.textContent = "The API does not answer";
  } else if (told.missing.length > 0) {
    service.dataset.kind = "busy";
    service.textContent = `Waiting for ${told.missing.join(" and ")}; questions are queued`;
  } else {
    service.dataset.kind = "done";
    service.textContent = told.versions.join(", ");
  }
}

setInterval(() => document.hidden || void showService(), 5000);
void showService();
offerSamples().catch(() => ($("samples-title").hidden = true));
