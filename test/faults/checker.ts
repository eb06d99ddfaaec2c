/**
 * Holds what happened against what was promised, in the manner of Jepsen's total-queue check: what clients attempted and were told,
 * what workers said, what readers were given, and what is in the ledger at the end. Pure: knows no process and no Redis.
 */
import type { JobEvent, JobState } from "@glimpse/contracts";
import { endsLog, isTerminal } from "@glimpse/contracts";

/** One thing that happened. `key` is the client's own name for a job, sent with every try to submit it. */
export type Entry =
  | { type: "attempted"; key: string; text: string; ends: JobState[] }
  | { type: "acknowledged"; key: string; id: string }
  | { type: "started"; id: string; attempt: number }
  | { type: "committed"; id: string; attempt: number; state: string }
  | { type: "delivered"; id: string; events: JobEvent[] };

/** A job as the ledger has it after everything has settled. */
export type Stored = {
  id: string;
  key: string | null;
  state: JobState;
  attempt: number;
  text: string | null;
  log: JobEvent[];
};

/** Each list but the first three holds what is wrong, in words; empty is right. */
export type Findings = {
  attempted: number;
  acknowledged: number;
  /** Jobs whose answer never reached their client, and which ran all the same: allowed. */
  recovered: number;
  /** Acknowledged, and there is no such job. */
  lost: string[];
  /** Acknowledged, and it has not come to an end. */
  stuck: string[];
  /** Two results of one job, or two jobs of one key. */
  duplicated: string[];
  /** Nobody asked for it, or not for this answer, or it ended as it should not. */
  unexpected: string[];
  /** A log, or a reader's copy of it, with an event missing, repeated or after the end. */
  gaps: string[];
};

export function check(history: Entry[], stored: Stored[]): Findings {
  const of = <T extends Entry["type"]>(type: T) =>
    history.filter((entry): entry is Extract<Entry, { type: T }> => entry.type === type);
  const wanted = new Map(of("attempted").map((entry) => [entry.key, entry]));
  const acknowledged = of("acknowledged");
  const jobs = new Map(stored.map((job) => [job.id, job]));
  const told = new Set(acknowledged.map(({ id }) => id));
  const keysOf = Map.groupBy(
    stored.filter(({ key }) => key !== null),
    ({ key }) => key,
  );
  return {
    attempted: wanted.size,
    acknowledged: new Set(acknowledged.map(({ key }) => key)).size,
    recovered: stored.filter(({ id, state }) => !told.has(id) && isTerminal(state)).length,
    lost: acknowledged.filter(({ id }) => !jobs.has(id)).map(({ key, id }) => `${key} ${id}`),
    stuck: stored
      .filter(({ state }) => !isTerminal(state))
      .map(({ id, state, attempt }) => `${id} is ${state} at attempt ${attempt}`),
    duplicated: [
      ...[...keysOf]
        .filter(([, same]) => same.length > 1)
        .map(([key, same]) => `${key} has ${same.length} jobs`),
      ...repeatedCommits(of("committed")),
      ...stored
        .filter(({ log }) => log.filter(endsLog).length > 1)
        .map(({ id }) => `${id} ended twice`),
    ],
    unexpected: [
      ...stored.flatMap((job) => surprises(job, wanted.get(job.key ?? ""))),
      ...staleCommits(of("committed"), jobs),
    ],
    gaps: [
      ...stored.flatMap((job) => faultsOfLog(job)),
      ...of("delivered").flatMap(({ id, events }) => faultsOfCopy(id, events, jobs.get(id))),
    ],
  };
}

function repeatedCommits(commits: Extract<Entry, { type: "committed" }>[]): string[] {
  return [...Map.groupBy(commits, ({ id }) => id)]
    .filter(([, same]) => same.length > 1)
    .map(
      ([id, same]) =>
        `${id} was committed by attempts ${same.map(({ attempt }) => attempt).join(" and ")}`,
    );
}

/** A worker was told that its result counts, and the ledger has another end or attempt. */
function staleCommits(
  commits: Extract<Entry, { type: "committed" }>[],
  jobs: Map<string, Stored>,
): string[] {
  return commits.flatMap(({ id, attempt, state }) => {
    const job = jobs.get(id);
    if (job === undefined || (job.attempt === attempt && job.state === state)) return [];
    return [
      `${id}: attempt ${attempt} committed ${state}, the ledger has ${job.attempt} ${job.state}`,
    ];
  });
}

function surprises(
  job: Stored,
  wanted: Extract<Entry, { type: "attempted" }> | undefined,
): string[] {
  if (wanted === undefined) return [`${job.id}: nobody submitted it`];
  if (!isTerminal(job.state)) return [];
  if (!wanted.ends.includes(job.state)) return [`${job.id} ${job.key} ended ${job.state}`];
  if (job.state !== "succeeded" || job.text === wanted.text) return [];
  return [`${job.id} answered ${JSON.stringify(job.text)}, not ${JSON.stringify(wanted.text)}`];
}

function faultsOfLog({ id, state, attempt, text, log }: Stored): string[] {
  const faults = faultsOfNumbers(log).map((fault) => `${id}: ${fault}`);
  if (log[0]?.type !== "queued") faults.push(`${id}: its log does not begin with queued`);
  const last = log.at(-1);
  if (isTerminal(state) && last?.type !== state) faults.push(`${id}: no ${state} at its end`);
  const starts = log.filter(({ type }) => type === "running").length;
  if (starts !== attempt) faults.push(`${id}: ${starts} starts in the log, ${attempt} attempts`);
  if (state === "succeeded" && textOf(log) !== text)
    faults.push(`${id}: its pieces do not make its answer`);
  return faults;
}

function faultsOfCopy(id: string, events: JobEvent[], job: Stored | undefined): string[] {
  const faults = faultsOfNumbers(events);
  if (job !== undefined && JSON.stringify(events) !== JSON.stringify(job.log))
    faults.push("it is not the log");
  return faults.map((fault) => `${id}, as it was read: ${fault}`);
}

function faultsOfNumbers(events: JobEvent[]): string[] {
  const wrong = events.findIndex((event, i) => event.id !== i);
  if (wrong >= 0) return [`event ${events[wrong]?.id} stands where ${wrong} should`];
  const end = events.findIndex(endsLog);
  return end >= 0 && end < events.length - 1 ? ["events after its end"] : [];
}

function textOf(log: JobEvent[]): string {
  const lastReset = log.findLastIndex(({ type }) => type === "reset");
  return log
    .slice(lastReset + 1)
    .map((event) => (event.type === "delta" ? event.text : ""))
    .join("");
}
