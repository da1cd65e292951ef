import type { Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { announceEnd } from './discounts.ts';
import { syncEntitlements } from './entitlements.ts';

type Reason = 'cancellation_requested' | 'payment_failed' | null;

/** The end, whatever led to it. Invoices already open stay collectible but are no longer retried. */
export function endSubscription(
  world: World,
  subscription: Subscription,
  reason: Reason,
  details: { comment?: string | null; feedback?: string | null } = {},
): void {
  const now = world.now();
  const current = subscription.cancellation_details;
  Object.assign(subscription, {
    status: 'canceled',
    canceled_at: subscription.canceled_at ?? now,
    ended_at: now,
    pending_update: null,
    cancellation_details: {
      comment: details.comment ?? current?.comment ?? null,
      feedback: details.feedback ?? current?.feedback ?? null,
      feedback_option: null,
      reason: reason ?? current?.reason ?? null,
    },
  } satisfies Partial<Subscription>);
  world.state.heldChanges.delete(subscription.id);
  endSchedule(world, subscription, reason);
  for (const invoice of world.state.invoices.values()) {
    const own = invoice.parent?.subscription_details?.subscription === subscription.id;
    if (own && (invoice.status === 'open' || invoice.status === 'draft')) {
      invoice.auto_advance = false;
      invoice.next_payment_attempt = null;
    }
  }
  world.emit('customer.subscription.deleted', subscription);
  for (const id of subscription.discounts) announceEnd(world, id);
  syncEntitlements(world, subscription.customer);
}

/** A schedule ends with its subscription; when that was for want of money, it is called aborted. */
function endSchedule(world: World, subscription: Subscription, reason: Reason): void {
  const schedule = world.state.schedules.get(subscription.schedule ?? '');
  if (schedule?.status !== 'active') return;
  Object.assign(schedule, { status: 'canceled', canceled_at: world.now(), current_phase: null });
  world.emit(`subscription_schedule.${reason === 'payment_failed' ? 'aborted' : 'canceled'}`, schedule);
}
