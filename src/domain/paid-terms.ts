/** What paid invoice lines give, and when: windows, keys, and the one place where a term's allowance lands. Pure. */
import type { Account } from './account.ts';
import { type AllowanceInput, landAllowance, openAllowances, voidAllowances } from './allowance.ts';
import type { Grant } from './model.ts';
import { addDays, addMonths, type Period } from './period.ts';
import { FREE_PLAN, planDefinition, TOKENS_PER_CREDIT } from './plans.ts';
import { entitledSubscriptions, type PaidTerm, type SubscriptionState } from './subscription.ts';

/** The windows of a paid term: the term itself, or the months of an annual one. */
export function termWindows(term: PaidTerm): Period[] {
  if (term.interval !== 'year') return [{ start: term.start, end: term.end }];
  const windows: Period[] = [];
  for (let month = 0; addMonths(term.start, month) < term.end && month < 12; month++) {
    const next = addMonths(term.start, month + 1);
    windows.push({ start: addMonths(term.start, month), end: new Date(Math.min(+next, +term.end)) });
  }
  return windows;
}

/** Unique per economic fact: the invoice line, and the month of an annual one. */
export function allowanceKey(term: PaidTerm, month: number): string {
  const line = `inv:${term.invoiceId}:${term.lineId}`;
  return month === 0 ? line : `${line}:m${month + 1}`;
}

/** What is known about the grants of a term when it is settled. */
export interface TermProgress {
  /** How many of its windows have had their allowance, counted from the first. */
  grantedWindows: number;
}

export type Settlement = 'landed' | 'resumed' | 'too_late' | 'waits' | 'trial_again';

/**
 * Gives a paid term what it bought, whatever the order in which its facts became known; applySubscriptions has run.
 * Doing it again changes nothing. A term whose subscription is live but not the current one waits: it lands when that
 * one becomes current, and is explained as too late when it ends first.
 * @param subscription with `term` as its paid term, unless a newer one is known
 */
export function settleTerm(
  account: Account,
  subscription: SubscriptionState,
  term: PaidTerm,
  { grantedWindows }: TermProgress,
  others: readonly SubscriptionState[],
): Settlement {
  const isNewest = subscription.paid?.lineId === term.lineId;
  const isCurrent = account.user.currentSubscriptionId === subscription.id && isNewest;
  if (grantedWindows > 0) {
    if (isCurrent) resumeWindow(account, term, grantedWindows);
    return 'resumed';
  }
  const isAgain = isTrial(subscription, term) && others.some((other) => isEarlierTrial(other, subscription));
  if (isCurrent && !isAgain) {
    landTermAllowance(account, subscription, term, 0);
    return 'landed';
  }
  const isLive = isNewest && entitledSubscriptions(account, [subscription]).length > 0;
  if (isLive && !isAgain) return 'waits';
  explainTerm(account, subscription, term);
  return isAgain ? 'trial_again' : 'too_late';
}

/**
 * What a plan change inside a window adds: up to the new allowance, counting all that the subscription has had in this
 * window, so that going up, down and up again gains nothing (stripe.md B2).
 * @returns whether anything was added
 */
export function landTopUp(account: Account, subscription: SubscriptionState, term: PaidTerm): boolean {
  const { user } = account;
  const isInWindow = term.start >= user.monthlyResetDate && term.start < user.periodEnd;
  if (user.currentSubscriptionId !== subscription.id || !isInWindow) return false;
  const { key, tokens, details } = termGrant(account, subscription, term, 0);
  const had = openAllowances(account)
    .filter(
      ({ subscriptionId, windowEnd }) =>
        subscriptionId === subscription.id && windowEnd && windowEnd > term.start,
    )
    .reduce((sum, { amountTokens }) => sum + amountTokens, 0);
  if (tokens <= had) return false;
  account.grant({
    key,
    source: 'allowance',
    tokens: tokens - had,
    expiresAt: addDays(user.periodEnd, planDefinition(account.catalogue, term.plan).graceDays),
    details: {
      ...details,
      offer: term.plan,
      reason: `Change to ${term.quantity} × ${term.plan}`,
      windowStart: term.start,
      windowEnd: user.periodEnd,
      windowKind: 'delta',
    },
  });
  return true;
}

/** Back on a term that has had some of its months: the next one to come is the one after them. */
export function resumeWindow(account: Account, term: PaidTerm, grantedWindows: number): void {
  const window = termWindows(term)[grantedWindows - 1];
  if (!window) return;
  account.user.monthlyResetDate = window.start;
  account.user.periodEnd = window.end;
}

const isTrial = ({ trialEnd }: SubscriptionState, term: PaidTerm): boolean =>
  trialEnd !== null && term.end <= trialEnd && term.amountMinor === 0;

/** A trial's allowance is given once per user and plan (stripe.md B2). */
function isEarlierTrial(other: SubscriptionState, subscription: SubscriptionState): boolean {
  const isEarlier = other.startedAt < subscription.startedAt;
  return (
    other.id !== subscription.id && isEarlier && other.trialEnd !== null && other.plan === subscription.plan
  );
}

function termGrant(
  account: Account,
  subscription: SubscriptionState,
  term: PaidTerm,
  month: number,
): AllowanceInput & { details: Partial<Grant> } {
  const windows = termWindows(term);
  const window = windows[month];
  if (!window)
    throw new Error(`Term of line ${term.lineId} has ${windows.length} windows, not ${month + 1}.`);
  const definition = planDefinition(account.catalogue, term.plan);
  const share = Math.floor(term.amountMinor / windows.length);
  const isLast = month === windows.length - 1;
  return {
    key: allowanceKey(term, month),
    plan: term.plan,
    tokens: definition.creditsPerPeriod * TOKENS_PER_CREDIT * term.quantity,
    window,
    expiresAt: addDays(window.end, definition.graceDays),
    details: {
      invoiceId: term.invoiceId,
      invoiceLineId: term.lineId,
      subscriptionId: subscription.id,
      subscriptionItemId: term.itemId ?? subscription.itemId,
      costBasisMinor: isLast ? term.amountMinor - share * (windows.length - 1) : share,
      currency: term.currency,
    },
  };
}

/** The allowance of window `month` of the current subscription's paid term lands. */
export function landTermAllowance(
  account: Account,
  subscription: SubscriptionState,
  term: PaidTerm,
  month: number,
): void {
  landAllowance(account, termGrant(account, subscription, term, month));
}

/**
 * A term that comes too late to be the present one (a newer one has landed, its subscription has ended): granted and
 * voided at once, so that the money is explained and nothing becomes spendable. Heard of in time it would have
 * replaced the free allowance of those days, so that one goes as well.
 */
function explainTerm(account: Account, subscription: SubscriptionState, term: PaidTerm): void {
  const { key, tokens, window, expiresAt, details } = termGrant(account, subscription, term, 0);
  // Stripe's time is cut to the second.
  const startedBy = subscription.startedAt.getTime() + 1000;
  voidAllowances(
    account,
    `Changed to ${term.plan}`,
    (grant) => grant.offer === FREE_PLAN && grant.createdAt.getTime() < startedBy,
  );
  const late = account.grant({
    key,
    source: 'allowance',
    tokens,
    expiresAt,
    details: {
      ...details,
      offer: term.plan,
      reason: `Allowance of ${term.plan}`,
      windowStart: window.start,
      windowEnd: window.end,
      windowKind: 'full',
    },
  });
  if (late.voidedAt === null && late.remainingTokens > 0)
    account.takeOut(late, 'voided', 'Paid for a window that is over or a subscription that is not current');
}
