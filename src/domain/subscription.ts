/** What Stripe's subscriptions mean for a user's plan: the state table of docs/credits.md (Stripe: "Subscription statuses"). */
import type { Account } from './account.ts';
import { enterFreePlan, openAllowances, voidAllowances } from './allowance.ts';
import { addDays, addMonths, type Period, periodAt } from './period.ts';
import { planDefinition } from './plans.ts';

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
  /** The subscription item that was billed; null where the line does not say. */
  itemId: string | null;
  /** The new price of a change inside a window: it fills the window up to the new allowance, not twice. */
  isTopUp: boolean;
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

/** Over for good: Stripe never revives it (https://docs.stripe.com/billing/subscriptions/overview). */
const TERMINAL = new Set(['canceled', 'incomplete_expired']);

/** When the plan lapses unless more is paid: the end of what was paid plus grace, or an announced cancellation. */
export function accessEndsAt(account: Account, subscription: SubscriptionState): Date {
  const graceDays =
    subscription.plan === null ? 0 : planDefinition(account.catalogue, subscription.plan).graceDays;
  const lapsesAt = addDays(paidUntil(subscription), graceDays);
  return subscription.cancelAt !== null && subscription.cancelAt < lapsesAt
    ? subscription.cancelAt
    : lapsesAt;
}

/**
 * Counted from what was paid and never from Stripe's period: an unpaid period rolls on every month, and a grace
 * counted from it would never end.
 */
function paidUntil({ paid, trialEnd, startedAt, status }: SubscriptionState): Date {
  const freeUntil = status === 'trialing' && trialEnd !== null ? trialEnd : startedAt;
  return paid !== null && paid.end > freeUntil ? paid.end : freeUntil;
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
  voidEnded(account, subscriptions);
  const current = chooseCurrent(account, subscriptions);
  if (!current) {
    const left = subscriptions.find((subscription) => subscription.id === user.currentSubscriptionId);
    if (user.currentSubscriptionId !== null) leaveSubscription(account, left);
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

/**
 * The oldest, but never away from one of the same plan: what the other has given would be voided, and would be missing
 * if the older one, heard of late, ends first.
 */
function chooseCurrent(
  account: Account,
  subscriptions: readonly SubscriptionState[],
): SubscriptionState | undefined {
  const entitled = entitledSubscriptions(account, subscriptions);
  const present = entitled.find(({ id }) => id === account.user.currentSubscriptionId);
  return present?.plan === entitled[0]?.plan ? present : entitled[0];
}

/** Also of one that is not the current one any more: frozen credits do not outlive their subscription. */
function voidEnded(account: Account, subscriptions: readonly SubscriptionState[]): void {
  const ended = new Set(subscriptions.filter(({ status }) => TERMINAL.has(status)).map(({ id }) => id));
  voidAllowances(
    account,
    'The subscription has ended',
    ({ subscriptionId }) => subscriptionId !== null && ended.has(subscriptionId),
  );
}

function firstWindowEnd(subscription: SubscriptionState): Date {
  const month = addMonths(subscription.currentPeriodStart, 1);
  return subscription.interval === 'year' ? month : subscription.currentPeriodEnd;
}

/**
 * Frozen credits (unpaid, paused) are kept until they expire, and then the free allowance of the running window does
 * not land over them; what else the subscription gave is voided.
 */
function leaveSubscription(account: Account, left: SubscriptionState | undefined): void {
  const { user } = account;
  const own = openAllowances(account).filter(({ subscriptionId }) => subscriptionId === left?.id);
  const isFrozen = left !== undefined && (left.status === 'unpaid' || left.status === 'paused');
  if (!isFrozen) {
    voidAllowances(account, 'The subscription has ended', (grant) => own.includes(grant));
  } else if (own.some(({ remainingTokens }) => remainingTokens > 0)) {
    user.freeAllowanceStart = periodAt(user.createdAt, account.now).start;
  }
  enterFreePlan(account);
}
