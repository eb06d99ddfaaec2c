// Loaded before a process that `npm start` runs: asks it to drain when its parent is gone, so that
// nothing outlives a launcher that was killed.
import { isMainThread } from "node:worker_threads";

if (isMainThread) {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    process.kill(process.pid, "SIGTERM");
  }, 1000).unref();
}
