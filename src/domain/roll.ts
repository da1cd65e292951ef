/**
 * What falls due with time: holds, grants, windows, paid plans. Applied by whoever touches the user first, in the
 * order of the due dates and stamped with them, so a late roll writes the same ledger as a punctual one and the jobs
 * are only a convenience.
 */
import type { Account } from './account.ts';
import { enterFreePlan, landFreeAllowance, landManualAllowance, voidAllowances } from './allowance.ts';
import { releaseHold } from './holds.ts';
import { landTermAllowance, termWindows } from './paid-terms.ts';
import { nthPeriod, periodIndexAt } from './period.ts';
import { FREE_PLAN, planDefinition } from './plans.ts';
import type { SubscriptionState } from './subscription.ts';

/** "Nothing is due": past every date that JavaScript and PostgreSQL agree on. */
export const NEVER = new Date('9999-12-31T00:00:00.000Z');

interface Due {
  at: Date;
  apply(): void;
}

/**
 * Applies everything that is due at `account.now`.
 * @param subscription the user's current one, for the months of an annual term
 * @returns whether anything was due
 */
export function roll(account: Account, subscription: SubscriptionState | null): boolean {
  const now = account.now;
  let hasRolled = false;
  for (let due = nextDue(account, subscription); due && due.at <= now; due = nextDue(account, subscription)) {
    account.now = due.at;
    due.apply();
    hasRolled = true;
  }
  account.now = now;
  account.user.nextDueAt = nextDue(account, subscription)?.at ?? NEVER;
  return hasRolled;
}

/** The earliest thing to come; of those at one instant, what gives back goes before what takes, before what lands. */
function nextDue(account: Account, subscription: SubscriptionState | null): Due | undefined {
  const dues = [
    ...dueHolds(account),
    ...dueGrants(account),
    ...dueAccessEnd(account),
    ...dueWindow(account, subscription),
  ];
  return dues.reduce<Due | undefined>((first, due) => (!first || due.at < first.at ? due : first), undefined);
}

function dueHolds(account: Account): Due[] {
  return [...account.holds.values()]
    .filter((hold) => hold.status === 'open')
    .map((hold) => ({ at: hold.expiresAt, apply: () => releaseHold(account, hold, 'expired') }));
}

function dueGrants(account: Account): Due[] {
  return account.openGrants().flatMap((grant) => {
    if (grant.expiresAt === null) return [];
    return [{ at: grant.expiresAt, apply: () => account.takeOut(grant, 'expired', 'Reached its expiry') }];
  });
}

function dueAccessEnd(account: Account): Due[] {
  const { accessEndsAt } = account.user;
  if (accessEndsAt === null) return [];
  const lapse = (): void => {
    voidAllowances(account, 'The plan has ended', () => true);
    enterFreePlan(account);
  };
  return [{ at: accessEndsAt, apply: lapse }];
}

function dueWindow(account: Account, subscription: SubscriptionState | null): Due[] {
  const { user } = account;
  const plan = user.subscriptionTier;
  if (user.currentSubscriptionId !== null) return dueAnnualMonth(account, subscription);
  if (planDefinition(account.catalogue, plan).reset !== 'clock') return [];
  const land = (): void => {
    const window = nthPeriod(user.periodAnchor, periodIndexAt(user.periodAnchor, account.now));
    if (plan === FREE_PLAN) {
      user.monthlyResetDate = window.start;
      user.periodEnd = window.end;
      landFreeAllowance(account, window);
    } else {
      landManualAllowance(account, `allowance:${plan}:${user.id}:${window.start.toISOString()}`, window);
    }
  };
  return [{ at: user.periodEnd, apply: land }];
}

function dueAnnualMonth(account: Account, subscription: SubscriptionState | null): Due[] {
  const { user } = account;
  const term = subscription?.paid;
  if (!subscription || !term || term.interval !== 'year') return [];
  const month = termWindows(term).findIndex((window) => window.start >= user.periodEnd);
  if (month < 1) return [];
  return [{ at: user.periodEnd, apply: () => landTermAllowance(account, subscription, term, month) }];
}
