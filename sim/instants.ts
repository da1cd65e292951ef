/** When `settle` may decide otherwise although nothing new has been told. */
import type { Account } from '../src/domain/account.ts';
import { agreementsOf, type Facts } from '../src/domain/agreements.ts';
import { DAY_IN_MS } from '../src/domain/period.ts';
import { planDefinition } from '../src/domain/plans.ts';
import { accessEndsAt } from '../src/domain/subscription.ts';

/**
 * The first instant (ms) after the account's `now` of all those with which `settle` compares the time: ends of access
 * and announced cancellations, starts of windows that were bought and their ends with grace, starts and ends of grants. What falls due by the clock of the account itself (`nextDueAt`) is rolled by whoever touches the user first.
 */
export function nextInstant(account: Account, facts: Facts): number {
  const { catalogue } = account;
  const now = account.now.getTime();
  let next = Number.POSITIVE_INFINITY;
  for (const { subscription, landings, paidEnd } of agreementsOf(catalogue, facts)) {
    next = sooner(next, accessEndsAt(catalogue, subscription, paidEnd).getTime(), now);
    next = sooner(next, subscription.cancelAt?.getTime(), now);
    next = sooner(next, subscription.endedAt?.getTime(), now);
    for (const { offer, window } of landings) {
      const graceMs = planDefinition(catalogue, offer).graceDays * DAY_IN_MS;
      next = sooner(next, window.start.getTime(), now);
      next = sooner(next, window.end.getTime() + graceMs, now);
    }
  }
  for (const { effectiveAt, expiresAt } of account.grants.values()) {
    next = sooner(next, effectiveAt.getTime(), now);
    next = sooner(next, expiresAt?.getTime(), now);
  }
  return next;
}

function sooner(next: number, at: number | undefined, now: number): number {
  return at !== undefined && at > now && at < next ? at : next;
}
