/** What Stripe's subscriptions mean for a user's plan: the state table of docs/credits.md (Stripe: "Subscription statuses"). */
import type { PaidLine } from './paid-lines.ts';
import { addDays, isBefore } from './period.ts';
import { type Catalogue, planDefinition } from './plans.ts';

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
  return Object.hasOwn(GIVES_PLAN, status);
}

/** Over for good: Stripe never revives it (https://docs.stripe.com/billing/subscriptions/overview). */
export function hasEnded({ status }: SubscriptionState): boolean {
  return status === 'canceled' || status === 'incomplete_expired';
}

/** The end of what has been paid for; null where nothing has. */
export function paidUntil(lines: readonly PaidLine[]): Date | null {
  let until: Date | null = null;
  for (const { kind, end } of lines) {
    const buysTime = kind === 'full' || kind === 'trial' || kind === 'delta';
    if (buysTime && (until === null || isBefore(until, end))) until = end;
  }
  return until;
}

/**
 * When the plan lapses unless more is paid: the end of what was paid plus grace, or an announced cancellation. Counted
 * from what was paid and never from Stripe's period: an unpaid period rolls on every month, and a grace counted from
 * it would never end.
 */
export function accessEndsAt(
  catalogue: Catalogue,
  { plan, status, trialEnd, startedAt, cancelAt }: SubscriptionState,
  paidEnd: Date | null,
): Date {
  const graceDays = plan === null ? 0 : planDefinition(catalogue, plan).graceDays;
  const freeUntil = status === 'trialing' && trialEnd !== null ? trialEnd : startedAt;
  const lapsesAt = addDays(paidEnd !== null && isBefore(freeUntil, paidEnd) ? paidEnd : freeUntil, graceDays);
  return cancelAt !== null && isBefore(cancelAt, lapsesAt) ? cancelAt : lapsesAt;
}

/** Whether a subscription gives its plan at `now`. */
export function isEntitled(
  catalogue: Catalogue,
  subscription: SubscriptionState,
  paidEnd: Date | null,
  now: Date,
): boolean {
  return (
    subscription.plan !== null &&
    GIVES_PLAN[subscription.status] === true &&
    isBefore(now, accessEndsAt(catalogue, subscription, paidEnd))
  );
}
