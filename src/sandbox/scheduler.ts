/** What can fall due at an instant of virtual time. Jobs check the object's state when they run. */
export const JOB_KINDS = [
  'subscription_renews',
  'subscription_ends',
  'incomplete_expires',
  'trial_will_end',
  'pending_update_expires',
  'invoice_finalizes',
  'invoice_retries',
  'session_expires',
  'payment_settles',
  'charge_settles',
  'webhook_retries',
] as const;
export type JobKind = (typeof JOB_KINDS)[number];

/** With what the timeline does itself. */
export const PLANNED_KINDS = [...JOB_KINDS, 'test_clock_expires'] as const;
export type PlannedKind = (typeof PLANNED_KINDS)[number];

/** Plain data, named by its kind, so that planned work survives a restart. */
export interface Job {
  atMs: number;
  kind: PlannedKind;
  id: string;
  /** The test clock whose time decides; null = global virtual time. */
  clock: string | null;
}

export class Scheduler {
  readonly #currentClock: () => string | null;
  /** By clock, sorted by time; jobs of one instant run in the order in which they were planned. */
  readonly #queues = new Map<string | null, Job[]>();

  constructor(currentClock: () => string | null) {
    this.#currentClock = currentClock;
  }

  /** `at` in seconds, as everything in Stripe; on the clock of whoever plans. */
  plan(kind: PlannedKind, at: number, id: string): void {
    this.#insert({ atMs: at * 1000, kind, id, clock: this.#currentClock() });
  }

  takeDue(untilMs: number, clock: string | null = null): Job | undefined {
    const queue = this.#queues.get(clock);
    const next = queue?.[0];
    return next !== undefined && next.atMs <= untilMs ? queue?.shift() : undefined;
  }

  nextAtMs(clock: string | null = null): number | undefined {
    return this.#queues.get(clock)?.[0]?.atMs;
  }

  /** Objects that come under a clock take along what is planned for them. */
  moveTo(clock: string, belongs: (job: Job) => boolean): void {
    const jobs = this.#queues.get(null) ?? [];
    this.#queues.set(
      null,
      jobs.filter((job) => !belongs(job)),
    );
    for (const job of jobs.filter(belongs)) this.#insert({ ...job, clock });
  }

  drop(clock: string): void {
    this.#queues.delete(clock);
  }

  clear(): void {
    this.#queues.clear();
  }

  save(): Job[] {
    return [...this.#queues.values()].flat();
  }

  restore(jobs: readonly Job[]): void {
    this.clear();
    for (const job of jobs) this.#insert(job);
  }

  #insert(job: Job): void {
    const queue = this.#queues.get(job.clock) ?? [];
    const before = queue.findLastIndex((other) => other.atMs <= job.atMs);
    queue.splice(before + 1, 0, job);
    this.#queues.set(job.clock, queue);
  }
}
