/** Allowances by our own clock (free, and plans given by hand): what lands at the start of a window. See landing.ts for paid ones. */
import type { Account } from './account.ts';
import { compareBurnOrder } from './burn.ts';
import type { Grant } from './model.ts';
import { addDays, isBefore, type Period, periodAt } from './period.ts';
import { FREE_PLAN, planDefinition, TOKENS_PER_CREDIT } from './plans.ts';

export interface AllowanceInput {
  key: string;
  plan: string;
  tokens: number;
  window: Period;
  expiresAt: Date;
}

/**
 * The next allowance lands and the previous ones end, but for what the plan rolls over. `monthlyTokensUsed` restarts
 * with the window.
 */
export function landAllowance(account: Account, input: AllowanceInput): Grant {
  replaceAllowances(account, input);
  account.user.monthlyResetDate = input.window.start;
  account.user.periodEnd = input.window.end;
  account.user.monthlyTokensUsed = 0;
  return account.grant({
    key: input.key,
    source: 'allowance',
    tokens: input.tokens,
    expiresAt: input.expiresAt,
    details: {
      offer: input.plan,
      reason: `Allowance of ${input.plan}`,
      windowStart: input.window.start,
      windowEnd: input.window.end,
      windowKind: 'full',
    },
  });
}

function replaceAllowances(account: Account, next: AllowanceInput): void {
  const { rollover } = planDefinition(account.catalogue, next.plan);
  let kept = rollover === 'none' ? 0 : rollover.cappedCredits * TOKENS_PER_CREDIT;
  const newestFirst = openAllowances(account)
    .filter(({ subscriptionId }) => subscriptionId === null)
    .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime());
  for (const grant of newestFirst) {
    const carried = grant.offer === next.plan ? Math.min(kept, grant.remainingTokens) : 0;
    if (carried === 0) {
      account.takeOut(grant, 'expired', 'Replaced by the next allowance');
      continue;
    }
    kept -= carried;
    grant.expiresAt = next.expiresAt;
    account.changedGrants.add(grant);
    if (carried < grant.remainingTokens)
      account.expireExcess(grant, carried, 'Above what the plan rolls over');
  }
}

export function openAllowances(account: Account): Grant[] {
  return account
    .grantsThat(({ source, closedAt }) => source === 'allowance' && closedAt === null)
    .sort(compareBurnOrder);
}

/** Voids what is left of all allowances. */
export function voidAllowances(account: Account, reason: string): void {
  for (const grant of openAllowances(account)) account.takeOut(grant, 'voided', reason);
}

/** Puts a user on the clock of the free plan; its allowance lands unless this window has had it before. */
export function enterFreePlan(account: Account, key?: string): void {
  putOnFreeClock(account);
  landFreeAllowance(account, periodAt(account.user.createdAt, account.now), key);
}

export function putOnFreeClock({ user, now }: Account): void {
  const window = periodAt(user.createdAt, now);
  Object.assign(user, {
    subscriptionTier: FREE_PLAN,
    isSubscribed: false,
    isMetered: false,
    subscriptionEndsAt: null,
    accessEndsAt: null,
    currentSubscriptionId: null,
    periodAnchor: user.createdAt,
    monthlyResetDate: window.start,
    periodEnd: window.end,
    monthlyTokensUsed: 0,
  });
}

/** Once a window, and not beside frozen credits of a subscription: it lands when those expire. */
export function landFreeAllowance(account: Account, window: Period, key?: string): void {
  const { user } = account;
  if (user.freeAllowanceStart !== null && !isBefore(user.freeAllowanceStart, window.start)) return;
  if (openAllowances(account).some(({ subscriptionId }) => subscriptionId !== null)) return;
  user.freeAllowanceStart = window.start;
  landAllowance(account, {
    key: key ?? `allowance:${FREE_PLAN}:${user.id}:${window.start.toISOString()}`,
    plan: FREE_PLAN,
    tokens: planDefinition(account.catalogue, FREE_PLAN).creditsPerPeriod * TOKENS_PER_CREDIT,
    window,
    expiresAt: window.end,
  });
}

/** A paid plan without Stripe: by the clock (monthly from now) or for one stretch of `periodDays`. */
export interface ManualPlan {
  plan: string;
  key: string;
  /** How long it is paid for; null = until it is changed. */
  periodDays: number | null;
}

export function enterManualPlan(account: Account, { plan, key, periodDays }: ManualPlan): void {
  const { user, now } = account;
  const definition = planDefinition(account.catalogue, plan);
  const endsAt = periodDays === null ? null : addDays(now, periodDays);
  const month = periodAt(now, now);
  const window = definition.reset === 'clock' || endsAt === null ? month : { start: now, end: endsAt };
  voidAllowances(account, `Changed to ${plan}`);
  Object.assign(user, {
    subscriptionTier: plan,
    isSubscribed: true,
    isMetered: definition.overage === 'meter',
    subscriptionEndsAt: endsAt,
    accessEndsAt: endsAt,
    currentSubscriptionId: null,
    periodAnchor: now,
  });
  landManualAllowance(account, key, window);
}

export function landManualAllowance(account: Account, key: string, window: Period): void {
  const plan = account.user.subscriptionTier;
  landAllowance(account, {
    key,
    plan,
    tokens: planDefinition(account.catalogue, plan).creditsPerPeriod * TOKENS_PER_CREDIT,
    window,
    expiresAt: window.end,
  });
}
