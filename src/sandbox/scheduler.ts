/** What can fall due at an instant of virtual time. Jobs check the object's state when they run. */
export type JobKind =
  | 'subscription_renews'
  | 'subscription_ends'
  | 'incomplete_expires'
  | 'trial_will_end'
  | 'pending_update_expires'
  | 'invoice_finalizes'
  | 'invoice_retries'
  | 'session_expires'
  | 'payment_settles'
  | 'charge_settles'
  | 'webhook_retries';

export interface Job {
  atMs: number;
  kind: JobKind;
  id: string;
}

export class Scheduler {
  /** Sorted by time; jobs of one instant run in the order in which they were planned. */
  #jobs: Job[] = [];

  /** `at` in seconds, as everything in Stripe. */
  plan(kind: JobKind, at: number, id: string): void {
    const job = { atMs: at * 1000, kind, id };
    const before = this.#jobs.findLastIndex((other) => other.atMs <= job.atMs);
    this.#jobs.splice(before + 1, 0, job);
  }

  takeDue(untilMs: number): Job | undefined {
    const next = this.#jobs[0];
    return next !== undefined && next.atMs <= untilMs ? this.#jobs.shift() : undefined;
  }

  nextAtMs(): number | undefined {
    return this.#jobs[0]?.atMs;
  }

  clear(): void {
    this.#jobs = [];
  }
}
