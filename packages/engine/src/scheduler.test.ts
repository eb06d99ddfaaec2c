import { expect, test } from "vitest";
import { createDice } from "./fixtures.ts";
import { type Move, type Scheduled, Scheduler } from "./scheduler.ts";

/** What a sequence is, to a simulation: its own history, and when it wants to stop. */
type Job = Scheduled & {
  name: number;
  output: number;
  cancelAt: number;
  ended?: "done" | "canceled" | "expired";
};

/**
 * Steps are the clock. Slots hold what was really put into them: the name of the writer at each position. A sequence
 * that is read or decoded must find its own name at all positions that it believes to have.
 */
function simulate(seed: number, arrivals: number, slots: number, budget: number) {
  const dice = createDice(seed);
  const scheduler = new Scheduler<Job>(slots);
  const cells: number[][] = Array.from({ length: slots }, () => []);
  const jobs: Job[] = [];

  const move = ({ from, to, length }: Move): void => {
    expect(from).not.toBe(to);
    cells[to] = cells[from]!.slice(0, length);
  };
  const write = (job: Job, count: number): void => {
    const cell = cells[job.slot]!;
    expect(cell.slice(0, job.length).every((name) => name === job.name)).toBe(true);
    expect(cell.length).toBeGreaterThanOrEqual(job.length);
    cell.length = job.length;
    for (let i = 0; i < count; i++) cell.push(job.name);
  };
  const arrive = (now: number): void => {
    const job: Job = {
      name: jobs.length,
      priority: dice.pick([0, 0, 0, 1, 2]),
      deadline: dice.int(0, 8) === 0 ? now + dice.int(0, 60) : Infinity,
      cancelAt: dice.int(0, 6) === 0 ? now + dice.int(0, 60) : Infinity,
      promptLength: dice.int(1, dice.pick([5, 30, 200])),
      output: dice.int(1, dice.pick([3, 40])),
      length: 0,
      slot: -1,
    };
    jobs.push(job);
    scheduler.add(job);
  };
  const cancel = (now: number): void => {
    for (const job of Array.from(scheduler)) {
      if (job.ended || job.cancelAt > now) continue;
      job.ended = "canceled";
      scheduler.leave(job);
    }
  };
  const take = (job: Job): void => {
    if (job.ended || --job.output > 0) return;
    job.ended = "done";
    scheduler.leave(job);
  };

  let now = 0;
  for (; scheduler.size > 0 || jobs.length < arrivals; now++) {
    if (now > 100 * arrivals) throw new Error("somebody never ends");
    while (jobs.length < arrivals && dice.int(0, 3) === 0) arrive(now);
    cancel(now);
    const { expired, moves } = scheduler.settle(now);
    for (const job of expired) {
      expect(job.ended).toBeUndefined();
      expect(job.deadline).toBeLessThanOrEqual(now);
      job.ended = "expired";
    }
    moves.forEach(move);
    let left = budget;
    let read = 0;
    for (let job = scheduler.next(); job && left > 0; job = scheduler.next()) {
      if (job.slot < 0) {
        const others = scheduler.waiting.filter((other) => other !== job);
        expect(others.every(({ priority }) => priority >= job!.priority)).toBe(true);
        const peers = others.filter(({ priority }) => priority === job!.priority);
        expect(peers.every(({ name }) => name > job!.name)).toBe(true);
        scheduler.admit();
        // Some begin with what is known of another prompt.
        job.length = dice.int(0, 3) === 0 ? Math.max(0, job.promptLength - dice.int(2, 40)) : 0;
        cells[job.slot] = Array<number>(job.length).fill(job.name);
      }
      expect(job.slot).toBeGreaterThanOrEqual(scheduler.running.length);
      const count = scheduler.chunk(job, left);
      expect(count === 1 && job.promptLength > 1).toBe(false);
      write(job, count);
      left -= count;
      read += count;
      if (job.length + count === job.promptLength) take(job);
      if (dice.int(0, 20) === 0) cancel(Infinity === job.cancelAt ? now : job.cancelAt); // while a run is under way
      const then = scheduler.advance(job, count);
      if (then) move(then);
    }
    expect(read).toBeLessThanOrEqual(budget + 3); // no chunk is a single token
    const rows = scheduler.running;
    expect(rows.map(({ slot }) => slot)).toEqual([...rows.keys()]);
    expect(rows.length).toBeLessThanOrEqual(slots);
    for (const job of rows) write(job, 1);
    scheduler.grow(rows.length);
    rows.forEach(take);
  }
  scheduler.settle(now);
  return { scheduler, jobs };
}

test.each([
  { seed: 1, slots: 4, budget: 32 },
  { seed: 2, slots: 16, budget: 64 },
  { seed: 3, slots: 1, budget: 16 },
  { seed: 4, slots: 2, budget: 512 },
])(
  "random arrivals, cancels and deadlines: all end, nothing stays (seed $seed, $slots slots, chunks of $budget)",
  ({ seed, slots, budget }) => {
    const { scheduler, jobs } = simulate(seed, 1500, slots, budget);
    const ends = Object.groupBy(jobs, ({ ended }) => ended ?? "none");
    expect(ends).not.toHaveProperty("none");
    for (const end of ["done", "canceled", "expired"] as const)
      expect(ends[end]?.length).toBeGreaterThan(10);
    expect(jobs.every(({ slot }) => slot === -1)).toBe(true);
    expect([...scheduler]).toEqual([]);
    expect(scheduler.size).toBe(0);
  },
);

const job = (priority = 0, promptLength = 10): Scheduled => ({
  priority,
  promptLength,
  deadline: Infinity,
  length: 0,
  slot: -1,
});

/** Reads a whole prompt. */
function read(scheduler: Scheduler<Scheduled>): Scheduled {
  const one = scheduler.next()!;
  scheduler.admit();
  scheduler.advance(one, one.promptLength);
  return one;
}

test("a lower priority goes first, equals by arrival; who is being read is not interrupted", () => {
  const scheduler = new Scheduler<Scheduled>(4);
  const [late, first, second, urgent] = [job(5), job(1), job(1), job(-1)];
  for (const one of [late, first, second]) scheduler.add(one);
  expect(scheduler.next()).toBe(first);
  scheduler.admit();
  scheduler.add(urgent);
  expect(scheduler.next()).toBe(first);
  expect([read, read, read, read].map((each) => each(scheduler))).toEqual([
    first,
    urgent,
    second,
    late,
  ]);
});

test("holes are filled from behind, each by one copy; the one being read stays where it is", () => {
  const scheduler = new Scheduler<Scheduled>(6);
  const jobs = Array.from({ length: 6 }, () => job());
  for (const one of jobs) scheduler.add(one);
  for (let i = 0; i < 5; i++) read(scheduler);
  scheduler.admit();
  for (const i of [0, 2, 4]) scheduler.leave(jobs[i]!);
  expect(scheduler.size).toBe(3);
  const { moves } = scheduler.settle(0);
  expect(moves).toEqual([{ from: 3, to: 0, length: 10 }]);
  expect(scheduler.running).toEqual([jobs[3], jobs[1]]);
  expect(jobs[5]!.slot).toBe(5);
  expect(scheduler.advance(jobs[5]!, 10)).toEqual({ from: 5, to: 2, length: 10 });
});

test("chunks keep to the budget, and none is a single token", () => {
  const scheduler = new Scheduler<Scheduled>(1);
  const chunks = (promptLength: number, budget: number): number[] => {
    const one = job(0, promptLength);
    const counts: number[] = [];
    for (; one.length < promptLength; one.length += counts.at(-1)!)
      counts.push(scheduler.chunk(one, budget));
    return counts;
  };
  expect(chunks(1030, 512)).toEqual([512, 512, 6]);
  expect(chunks(1025, 512)).toEqual([512, 511, 2]);
  expect(chunks(3, 2)).toEqual([3]);
  expect(chunks(1, 512)).toEqual([1]);
  for (let n = 2; n < 40; n++)
    for (let budget = 1; budget < 12; budget++)
      expect(Math.min(...chunks(n, budget))).toBeGreaterThan(1);
});

test("one slot is free only when a sequence has left and settled", () => {
  const scheduler = new Scheduler<Scheduled>(1);
  const [first, second] = [job(), job()];
  scheduler.add(first);
  scheduler.add(second);
  read(scheduler);
  expect(scheduler.next()).toBeUndefined();
  scheduler.leave(first);
  expect(scheduler.next()).toBeUndefined();
  scheduler.settle(0);
  expect(scheduler.next()).toBe(second);
});
