/** What Stripe's subscriptions mean for a user's plan: the state table of docs/credits.md (Stripe: "Subscription statuses"). */
import type { Account } from './account.ts';
import { enterFreePlan, landAllowance, voidAllowances } from './allowance.ts';
import { addDays, addMonths, type Period } from './period.ts';
import { planDefinition, TOKENS_PER_CREDIT } from './plans.ts';

/** Our snapshot of one Stripe subscription. */
export interface SubscriptionState {
  id: string;
  customerId: string;
  /** Stripe's word; an enum that may grow. */
  status: string;
  /** Null where the price is not in the catalogue. */
  plan: string | null;
  priceId: string;
  lookupKey: string | null;
  interval: string;
  quantity: number;
  itemId: string;
  currentPeriodStart: Date;
  currentPeriodEnd: Date;
  trialEnd: Date | null;
  cancelAt: Date | null;
  canceledAt: Date | null;
  endedAt: Date | null;
  startedAt: Date;
  latestInvoiceId: string | null;
  /** The newest paid full line. */
  paid: PaidTerm | null;
}

/** What one paid invoice line bought. The line speaks for itself: the subscription may have changed since. */
export interface PaidTerm extends Period {
  invoiceId: string;
  lineId: string;
  plan: string;
  interval: string;
  quantity: number;
  amountMinor: number;
  currency: string;
}

/** Statuses under which the plan is given as long as it is paid for; every other one gives nothing. */
const GIVES_PLAN: Record<string, boolean> = {
  trialing: true,
  active: true,
  past_due: true,
  incomplete: false,
  incomplete_expired: false,
  unpaid: false,
  paused: false,
  canceled: false,
};

export function isKnownStatus(status: string): boolean {
  return status in GIVES_PLAN;
}

/** When the plan lapses unless more is paid: the end of what was paid plus grace, or an announced cancellation. */
export function accessEndsAt(account: Account, subscription: SubscriptionState): Date {
  const graceDays =
    subscription.plan === null ? 0 : planDefinition(account.catalogue, subscription.plan).graceDays;
  const paidUntil = Math.max(
    subscription.paid?.end.getTime() ?? 0,
    subscription.currentPeriodStart.getTime(),
  );
  const lapsesAt = addDays(new Date(paidUntil), graceDays);
  return subscription.cancelAt !== null && subscription.cancelAt < lapsesAt
    ? subscription.cancelAt
    : lapsesAt;
}

/** Subscriptions that give their plan now, the oldest first: of two live ones the older is kept. */
export function entitledSubscriptions(
  account: Account,
  subscriptions: readonly SubscriptionState[],
): SubscriptionState[] {
  return subscriptions
    .filter(
      (subscription) =>
        subscription.plan !== null &&
        GIVES_PLAN[subscription.status] === true &&
        accessEndsAt(account, subscription) > account.now,
    )
    .sort((a, b) => a.startedAt.getTime() - b.startedAt.getTime() || (a.id < b.id ? -1 : 1));
}

/**
 * Makes the plan agree with the user's subscriptions. The deletion of a subscription that is not the current one
 * changes nothing, since the current one is still the oldest that is entitled.
 */
export function applySubscriptions(account: Account, subscriptions: readonly SubscriptionState[]): void {
  const { user } = account;
  const current = entitledSubscriptions(account, subscriptions)[0];
  if (!current) {
    const ended = subscriptions.find((subscription) => subscription.id === user.currentSubscriptionId);
    if (user.currentSubscriptionId !== null) leaveSubscription(account, ended);
    return;
  }
  if (user.currentSubscriptionId !== current.id) {
    voidAllowances(account, `Changed to ${current.plan}`, (grant) => grant.subscriptionId !== current.id);
    user.periodAnchor = current.currentPeriodStart;
    user.monthlyResetDate = current.currentPeriodStart;
    user.periodEnd = firstWindowEnd(current);
    user.monthlyTokensUsed = 0;
  }
  const plan = current.plan ?? user.subscriptionTier;
  user.currentSubscriptionId = current.id;
  user.subscriptionTier = plan;
  user.isSubscribed = true;
  user.isMetered = planDefinition(account.catalogue, plan).overage === 'meter';
  user.subscriptionEndsAt = current.cancelAt ?? current.paid?.end ?? current.currentPeriodEnd;
  user.accessEndsAt = accessEndsAt(account, current);
}

function firstWindowEnd(subscription: SubscriptionState): Date {
  const month = addMonths(subscription.currentPeriodStart, 1);
  return subscription.interval === 'year' ? month : subscription.currentPeriodEnd;
}

/** Frozen credits (unpaid, paused) are kept until they expire; those of an ended subscription are voided. */
function leaveSubscription(account: Account, ended: SubscriptionState | undefined): void {
  const isFrozen = ended !== undefined && (ended.status === 'unpaid' || ended.status === 'paused');
  if (!isFrozen) {
    voidAllowances(account, 'The subscription has ended', (grant) => grant.subscriptionId === ended?.id);
  }
  enterFreePlan(account);
}

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

/**
 * The allowance of window `month` of a paid term lands. One that comes too late to be the present one (a newer term
 * has landed, or the subscription is not the user's current one) is granted and voided at once: the money is
 * explained, nothing becomes spendable.
 */
export function landTermAllowance(
  account: Account,
  subscription: SubscriptionState,
  term: PaidTerm,
  month: number,
): void {
  const windows = termWindows(term);
  const window = windows[month];
  if (!window)
    throw new Error(`Term of line ${term.lineId} has ${windows.length} windows, not ${month + 1}.`);
  const definition = planDefinition(account.catalogue, term.plan);
  const tokens = definition.creditsPerPeriod * TOKENS_PER_CREDIT * term.quantity;
  const share = Math.floor(term.amountMinor / windows.length);
  const isLast = month === windows.length - 1;
  const details = {
    offer: term.plan,
    invoiceId: term.invoiceId,
    invoiceLineId: term.lineId,
    subscriptionId: subscription.id,
    subscriptionItemId: subscription.itemId,
    costBasisMinor: isLast ? term.amountMinor - share * (windows.length - 1) : share,
    currency: term.currency,
  };
  const key = allowanceKey(term, month);
  const expiresAt = addDays(window.end, definition.graceDays);
  const isNewest = subscription.paid === null || subscription.paid.start <= term.start;
  if (account.user.currentSubscriptionId === subscription.id && isNewest) {
    landAllowance(account, { key, plan: term.plan, tokens, window, expiresAt, details });
    return;
  }
  const late = account.grant({
    key,
    source: 'allowance',
    tokens,
    expiresAt,
    details: {
      ...details,
      reason: `Allowance of ${term.plan}`,
      windowStart: window.start,
      windowEnd: window.end,
      windowKind: 'full',
    },
  });
  account.takeOut(late, 'voided', 'Paid for a window that is over or a subscription that is not current');
}
