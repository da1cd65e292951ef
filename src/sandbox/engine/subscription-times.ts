import { DAY, HOUR } from '../calendar.ts';
import type { Subscription } from '../wire.ts';
import type { World } from '../world.ts';

const TRIAL_NOTICE_DAYS = 3;
/** How long an unpaid first invoice, pending update or resumption waits (stripe.md A1, F2). */
export const PAYMENT_WINDOW = 23 * HOUR;
/** https://docs.stripe.com/billing/subscriptions/webhooks: the dashboard's default notice of a renewal. */
const UPCOMING_DAYS = 7;

/** The instant a flexible subscription that cancels at its period end really ends (stripe.md A1). */
export function periodEnd(subscription: Subscription, which: 'min' | 'max' = 'min'): number {
  const ends = subscription.items.data.map((item) => item.current_period_end);
  return which === 'min' ? Math.min(...ends) : Math.max(...ends);
}

/** `subscription_renews` comes for everything that falls due on a subscription; its handler looks what it is. */
export function planVisit(world: World, id: string, at: number): void {
  world.scheduler.plan('subscription_renews', at, id);
}

export function planCycle(world: World, subscription: Subscription): void {
  const end = periodEnd(subscription);
  planVisit(world, subscription.id, end);
  const notice = end - UPCOMING_DAYS * DAY;
  if (notice > world.now()) planVisit(world, subscription.id, notice);
}

export const upcomingNoticeDue = (subscription: Subscription, now: number): boolean =>
  periodEnd(subscription) - UPCOMING_DAYS * DAY === now;

export function planTrialNotice(world: World, subscription: Subscription): void {
  if (subscription.trial_end === null) return;
  const notice = subscription.trial_end - TRIAL_NOTICE_DAYS * DAY;
  world.scheduler.plan('trial_will_end', Math.max(notice, world.now()), subscription.id);
}

export type CancelAt = number | 'period_end' | 'min_period_end' | 'max_period_end' | 'max_billed_until';

function endOf(subscription: Subscription, at: CancelAt): number {
  if (typeof at === 'number') return at;
  return periodEnd(subscription, at === 'period_end' || at === 'min_period_end' ? 'min' : 'max');
}

/** The API's cancel_at_period_end sets three fields on a flexible subscription, cancel_at one of them [recordings]. */
export function cancellation(
  world: World,
  subscription: Subscription,
  at: CancelAt | null,
): Partial<Subscription> {
  const details = subscription.cancellation_details;
  return {
    cancel_at_period_end: at === 'period_end',
    cancel_at: at === null ? null : endOf(subscription, at),
    canceled_at: at === null ? null : world.now(),
    cancellation_details: {
      comment: details?.comment ?? null,
      feedback: details?.feedback ?? null,
      feedback_option: null,
      reason: at === null ? null : 'cancellation_requested',
    },
  };
}

export function planEnd(world: World, subscription: Subscription): void {
  if (subscription.cancel_at !== null)
    world.scheduler.plan('subscription_ends', subscription.cancel_at, subscription.id);
}
