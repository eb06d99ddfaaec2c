// What a person at a terminal sees of a long step: its name at once, the time it takes while it
// runs, and the outcome. Plain JavaScript, because the bootstrap uses it before anything is installed.

const everyMs = process.stdout.isTTY ? 250 : 10_000;

/** @param {number} started */
const seconds = (started) => `${((performance.now() - started) / 1000).toFixed(1)} s`;

/**
 * Runs a step and tells how it goes. `work` may say what it is doing through `note`; what it
 * returns is returned, what it throws is thrown.
 * @template T
 * @param {string} title
 * @param {(note: (text: string) => void) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(title, work) {
  const started = performance.now();
  let note = "";
  const show = () => {
    const line = `  … ${title}  ${seconds(started)}${note && `  ${note}`}`;
    if (process.stdout.isTTY)
      process.stdout.write(`\r\x1b[2K${line.slice(0, process.stdout.columns - 1)}`);
    else console.log(line);
  };
  /** @param {string} mark */
  const end = (mark) => {
    clearInterval(timer);
    console.log(
      `${process.stdout.isTTY ? "\r\x1b[2K" : ""}  ${mark} ${title}  ${seconds(started)}`,
    );
  };
  const timer = setInterval(show, everyMs);
  try {
    const result = await work((text) => (note = text));
    end("✓");
    return result;
  } catch (error) {
    end("✗");
    throw error;
  }
}
