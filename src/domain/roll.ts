/**
 * What falls due with time: holds, grants, windows, paid plans. Applied by whoever touches the user first, in the
 * order of the due dates and stamped with them, so a late roll writes the same ledger as a punctual one and the jobs
 * are only a convenience.
 */
import { type Account, EXPIRED_BY_TIME } from './account.ts';
import {
  enterFreePlan,
  landFreeAllowance,
  landManualAllowance,
  putOnFreeClock,
  voidAllowances,
} from './allowance.ts';
import { compareBurnOrder } from './burn.ts';
import { releaseHold } from './holds.ts';
import { land } from './landing.ts';
import type { Grant, Hold } from './model.ts';
import { hasCome, isBefore, isSameTime, type Period, periodAt } from './period.ts';
import { FREE_PLAN, planDefinition } from './plans.ts';
import type { Landing } from './windows.ts';

/** "Nothing is due": past every date that JavaScript and PostgreSQL agree on. */
export const NEVER = new Date('9999-12-31T00:00:00.000Z');

interface Due {
  at: Date;
  apply(): void;
  /** Afterwards it depends on what Stripe has told what the user has. */
  isForFacts?: boolean;
}

/**
 * Applies everything that is due at `now`, instant by instant.
 * @param landings what the current subscription's paid lines buy: the months of a year land by the clock
 * @returns true where it has come to an instant (`account.now`) at which the facts decide: the caller settles (settle.ts)
 *   and rolls on
 */
export function roll(account: Account, landings: readonly Landing[], now: Date): boolean {
  for (let due = nextDue(account, landings); due && hasCome(due.at, now); due = nextDue(account, landings)) {
    account.now = due.at;
    due.apply();
    if (due.isForFacts) return true;
  }
  account.now = now;
  account.user.nextDueAt = nextDue(account, landings)?.at ?? NEVER;
  return false;
}

/**
 * The earliest thing to come; of those at one instant, what gives back goes before what takes, before what lands. No
 * function is given a name in here: tsx notes the name of each as it is made, which took as long as all else of a look.
 */
function nextDue(account: Account, landings: readonly Landing[]): Due | undefined {
  const ofAccount = sooner(dueHold(account), dueGrant(account));
  return sooner(sooner(ofAccount, dueAccessEnd(account)), dueWindow(account, landings));
}

function sooner(a: Due | undefined, b: Due | undefined): Due | undefined {
  if (!a || !b) return a ?? b;
  return isBefore(b.at, a.at) ? b : a;
}

function dueHold(account: Account): Due | undefined {
  let first: Hold | undefined;
  for (const hold of account.holds.values()) {
    if (hold.status === 'open' && (!first || isBefore(hold.expiresAt, first.expiresAt))) first = hold;
  }
  const hold = first;
  return hold && { at: hold.expiresAt, apply: () => releaseHold(account, hold, 'expired') };
}

/** Where frozen credits of a subscription end, the free allowance may have waited for it. */
function dueGrant(account: Account): Due | undefined {
  let first: { grant: Grant; at: Date } | undefined;
  for (const grant of account.grants.values()) {
    const { closedAt, expiresAt: at } = grant;
    if (closedAt !== null || at === null) continue;
    const isFirst =
      !first ||
      isBefore(at, first.at) ||
      (isSameTime(at, first.at) && compareBurnOrder(grant, first.grant) < 0);
    if (isFirst) first = { grant, at };
  }
  if (!first) return undefined;
  const { grant, at } = first;
  const isFrozen = grant.subscriptionId !== null && account.user.currentSubscriptionId === null;
  return {
    at,
    apply: () => void account.takeOut(grant, 'expired', EXPIRED_BY_TIME),
    isForFacts: isFrozen,
  };
}

function dueAccessEnd(account: Account): Due | undefined {
  const { accessEndsAt, currentSubscriptionId } = account.user;
  if (accessEndsAt === null) return undefined;
  if (currentSubscriptionId !== null)
    return { at: accessEndsAt, apply: () => putOnFreeClock(account), isForFacts: true };
  const lapse = (): void => {
    voidAllowances(account, 'The plan has ended');
    enterFreePlan(account);
  };
  return { at: accessEndsAt, apply: lapse };
}

function dueWindow(account: Account, landings: readonly Landing[]): Due | undefined {
  const { user } = account;
  const plan = user.subscriptionTier;
  if (user.currentSubscriptionId !== null) return dueAnnualMonth(account, landings);
  if (planDefinition(account.catalogue, plan).reset !== 'clock') return undefined;
  if (plan === FREE_PLAN) {
    // What Stripe has told may say that something was paid for in this window.
    const isForFacts = user.stripeCustomerId !== null;
    return {
      at: user.periodEnd,
      apply: () => enterFreeWindow(account, windowNow(account), isForFacts),
      isForFacts,
    };
  }
  return { at: user.periodEnd, apply: () => enterManualWindow(account, windowNow(account)) };
}

function windowNow({ user, now }: Account): Period {
  return periodAt(user.periodAnchor, now);
}

function enterManualWindow(account: Account, window: Period): void {
  const { subscriptionTier, id } = account.user;
  const key = `allowance:${subscriptionTier}:${id}:${window.start.toISOString()}`;
  landManualAllowance(account, key, window);
}

function enterFreeWindow(account: Account, window: Period, isForFacts: boolean): void {
  const { user } = account;
  user.monthlyResetDate = window.start;
  user.periodEnd = window.end;
  user.monthlyTokensUsed = 0;
  if (!isForFacts) landFreeAllowance(account, window);
}

function dueAnnualMonth(account: Account, landings: readonly Landing[]): Due | undefined {
  const { user } = account;
  const next = landings.find(
    ({ key, kind, line, window }) =>
      kind === 'full' && key !== line.key && !isBefore(window.start, user.periodEnd),
  );
  if (!next) return undefined;
  const enter = (): void => {
    user.monthlyResetDate = next.window.start;
    user.periodEnd = next.window.end;
    user.monthlyTokensUsed = 0;
    land(account, next);
  };
  return { at: next.window.start, apply: enter };
}
