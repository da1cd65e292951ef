/**
 * What runs by the clock (the table of docs/operations.md). Each only makes early what the lazy roll does anyway, but for
 * `verify-ledger`, which looks whether all of it was right, and `rotate-ledger`, which keeps it fast.
 */
import type { Context } from '../src/context.ts';
import type { JobQueue } from '../src/queue.ts';
import { withAdvisoryLock } from '../src/store/advisory-lock.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/** Intervals, not cron: an overdue cron run is deleted when a process starts and upserts it. */
export const SCHEDULE = {
  'reset-due-users': MINUTE_MS,
  'check-subscription-expiry': 5 * MINUTE_MS,
  'sweep-inbox': MINUTE_MS,
  'backfill-events': 5 * MINUTE_MS,
  'verify-ledger': HOUR_MS,
  reconcile: 24 * HOUR_MS,
  'rotate-ledger': 24 * HOUR_MS,
} as const;
export type ScheduledJob = keyof typeof SCHEDULE;

export function isScheduled(name: string): name is ScheduledJob {
  return Object.hasOwn(SCHEDULE, name);
}

/**
 * Makes the store's schedule this table, and touches only what differs. One process at a time: two that upsert the same
 * scheduler at once leave it with two pending jobs, or a deadlock.
 */
export async function applySchedule({ pool }: Context, queue: JobQueue): Promise<void> {
  await withAdvisoryLock(pool, 'tollgate:schedule', async () => {
    const present = new Map((await queue.getJobSchedulers()).map(({ key, every }) => [key, Number(every)]));
    for (const [name, every] of Object.entries(SCHEDULE)) {
      if (present.get(name) === every) continue;
      await queue.upsertJobScheduler(name, { every }, { name, data: {}, opts: { attempts: 1 } });
    }
    for (const key of present.keys()) if (!isScheduled(key)) await queue.removeJobScheduler(key);
  });
}
