/**
 * Whether the running free window has its allowance. Once a window, from the first instant in it at which nothing paid
 * for is there, and never again after an upgrade inside it. Decided from what was paid and when, not from when we heard
 * of it, so that late news ends where punctual news would have. Pure.
 */
import type { Account } from './account.ts';
import type { Agreement } from './agreements.ts';
import { landFreeAllowance } from './allowance.ts';
import { restore, withhold } from './clawback.ts';
import type { Grant } from './model.ts';
import { addDays, hasCome, isBefore, type Period, periodAt } from './period.ts';
import { FREE_PLAN, planDefinition } from './plans.ts';

/** Stripe's times are cut to the second. */
const SECOND_MS = 1000;

/** Makes the free allowance of a user on the free plan what the facts say. */
export function settleFreeAllowance(account: Account, paid: readonly Period[]): void {
  const window = periodAt(account.user.createdAt, account.now);
  const isFirst = window.start.getTime() === account.user.createdAt.getTime();
  const isDue = isFreeAllowanceDue(window, paid, account.now, isFirst);
  for (const grant of freeGrants(account, window)) {
    if (isDue) restore(account, grant, 'Free again');
    else withhold(account, grant, 'Paid for meanwhile');
  }
  if (isDue) landFreeAllowance(account, window);
}

function freeGrants(account: Account, window: Period): Grant[] {
  return account.grantsThat(
    ({ source, offer, subscriptionId, windowStart }) =>
      source === 'allowance' &&
      offer === FREE_PLAN &&
      subscriptionId === null &&
      windowStart?.getTime() === window.start.getTime(),
  );
}

export function isFreeAllowanceDue(
  window: Period,
  paid: readonly Period[],
  now: Date,
  isFirst = false,
): boolean {
  let freeFrom = window.start;
  // The first window begins with the signup, which gives it at once.
  if (isFirst) freeFrom = new Date(Math.floor(freeFrom.getTime() / SECOND_MS) * SECOND_MS - 1);
  else {
    for (let covering = covers(paid, freeFrom); covering; covering = covers(paid, freeFrom))
      freeFrom = covering.end;
  }
  return (
    hasCome(freeFrom, now) && !paid.some(({ start }) => isBefore(freeFrom, start) && hasCome(start, now))
  );
}

function covers(paid: readonly Period[], at: Date): Period | undefined {
  return paid.find(({ start, end }) => hasCome(start, at) && isBefore(at, end));
}

/**
 * When a subscription gave more than the free plan: from the payment of each window until it and its grace end. A second
 * trial gives nothing, and a month that another line has taken over counts as that line's.
 */
export function paidPeriods(
  account: Account,
  { subscription: { endedAt, cancelAt }, landings, trialsAgain }: Agreement,
  byKey: ReadonlyMap<string, Grant>,
): Period[] {
  const last = endedAt ?? cancelAt;
  return landings.flatMap(({ key, line, offer, window }) => {
    const grant = byKey.get(key);
    if (!grant || trialsAgain.has(line.lineId)) return [];
    const lapsesAt = addDays(window.end, planDefinition(account.catalogue, offer).graceDays);
    const until = last !== null && isBefore(last, lapsesAt) ? last : lapsesAt;
    return hasCome(grant.effectiveAt, until) ? [{ start: grant.effectiveAt, end: until }] : [];
  });
}
