/**
 * What falls due with time: holds, grants, windows, paid plans. Applied by whoever touches the user first, in the
 * order of the due dates and stamped with them, so a late roll writes the same ledger as a punctual one and the jobs
 * are only a convenience.
 */
import type { Account } from './account.ts';
import { enterFreePlan, landFreeAllowance, landManualAllowance, openAllowances } from './allowance.ts';
import { withhold } from './clawback.ts';
import { releaseHold } from './holds.ts';
import { land } from './landing.ts';
import type { Grant } from './model.ts';
import type { Landing } from './paid-lines.ts';
import { nthPeriod, periodAt, periodIndexAt } from './period.ts';
import { FREE_PLAN, planDefinition } from './plans.ts';

/** "Nothing is due": past every date that JavaScript and PostgreSQL agree on. */
export const NEVER = new Date('9999-12-31T00:00:00.000Z');

interface Due {
  at: Date;
  apply(): void;
}

/**
 * Applies everything that is due at `account.now`.
 * @param landings what the current subscription's paid lines buy: the months of a year land by the clock
 */
export function roll(account: Account, landings: readonly Landing[]): void {
  const now = account.now;
  for (let due = nextDue(account, landings); due && due.at <= now; due = nextDue(account, landings)) {
    account.now = due.at;
    due.apply();
  }
  account.now = now;
  account.user.nextDueAt = nextDue(account, landings)?.at ?? NEVER;
}

/** The earliest thing to come; of those at one instant, what gives back goes before what takes, before what lands. */
function nextDue(account: Account, landings: readonly Landing[]): Due | undefined {
  const dues = [
    ...dueHolds(account),
    ...dueGrants(account),
    ...dueAccessEnd(account),
    ...dueWindow(account, landings),
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
    return [{ at: grant.expiresAt, apply: () => expire(account, grant) }];
  });
}

/** Where frozen credits of a subscription end, the free allowance that waited for it lands. */
function expire(account: Account, grant: Grant): void {
  account.takeOut(grant, 'expired', 'Reached its expiry');
  const { user } = account;
  if (grant.subscriptionId === null || user.subscriptionTier !== FREE_PLAN) return;
  landFreeAllowance(account, periodAt(user.createdAt, account.now));
}

function dueAccessEnd(account: Account): Due[] {
  const { accessEndsAt } = account.user;
  if (accessEndsAt === null) return [];
  const lapse = (): void => {
    for (const grant of openAllowances(account)) {
      if (grant.subscriptionId === null) account.takeOut(grant, 'voided', 'The plan has ended');
      else withhold(account, grant, 'The plan has ended');
    }
    enterFreePlan(account);
  };
  return [{ at: accessEndsAt, apply: lapse }];
}

function dueWindow(account: Account, landings: readonly Landing[]): Due[] {
  const { user } = account;
  const plan = user.subscriptionTier;
  if (user.currentSubscriptionId !== null) return dueAnnualMonth(account, landings);
  if (planDefinition(account.catalogue, plan).reset !== 'clock') return [];
  const enter = (): void => {
    const window = nthPeriod(user.periodAnchor, periodIndexAt(user.periodAnchor, account.now));
    if (plan === FREE_PLAN) {
      user.monthlyResetDate = window.start;
      user.periodEnd = window.end;
      user.monthlyTokensUsed = 0;
      landFreeAllowance(account, window);
    } else {
      landManualAllowance(account, `allowance:${plan}:${user.id}:${window.start.toISOString()}`, window);
    }
  };
  return [{ at: user.periodEnd, apply: enter }];
}

function dueAnnualMonth(account: Account, landings: readonly Landing[]): Due[] {
  const { user } = account;
  const next = landings.find(
    ({ key, kind, line, window }) => kind === 'full' && key !== line.key && window.start >= user.periodEnd,
  );
  if (!next) return [];
  const enter = (): void => {
    user.monthlyResetDate = next.window.start;
    user.periodEnd = next.window.end;
    user.monthlyTokensUsed = 0;
    land(account, next);
  };
  return [{ at: next.window.start, apply: enter }];
}
