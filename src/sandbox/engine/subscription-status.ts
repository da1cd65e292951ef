import type { HeldChange } from '../state.ts';
import type { Invoice, Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { syncEntitlements } from './entitlements.ts';
import { subscriptionOf } from './invoice-object.ts';
import { isPausedByDunning, pauseNow } from './pause-now.ts';
import { endSubscription } from './subscription-end.ts';
import { planCycle } from './subscription-times.ts';

const WAITING = ['incomplete', 'past_due', 'unpaid'];

/** What a paid invoice means for its subscription. */
export function subscriptionPaid(world: World, invoice: Invoice): void {
  const subscription = subscriptionOf(world, invoice);
  if (subscription === undefined || subscription.ended_at !== null) return;
  const held = world.state.heldChanges.get(subscription.id);
  if (held !== undefined && held.invoice === invoice.id) applyHeldChange(world, subscription, held);
  // Paying an older invoice does not settle a newer debt.
  const wasPaused = isPausedByDunning(subscription);
  if (subscription.latest_invoice !== invoice.id) return;
  if (!wasPaused && !WAITING.includes(subscription.status)) return;
  if (wasPaused) delete subscription.status_details;
  const trialing = subscription.trial_end !== null && subscription.trial_end > world.now();
  world.update('customer.subscription.updated', subscription, { status: trialing ? 'trialing' : 'active' });
  if (wasPaused) {
    planCycle(world, subscription);
    world.emit('customer.subscription.resumed', subscription);
  }
  syncEntitlements(world, subscription.customer);
}

/** A change that never had to wait is an ordinary update. */
function applyHeldChange(world: World, subscription: Subscription, held: HeldChange): void {
  world.state.heldChanges.delete(subscription.id);
  const waited = subscription.pending_update !== null;
  if (held.resumes) delete subscription.status_details;
  world.update('customer.subscription.updated', subscription, {
    ...held.changes,
    latest_invoice: held.invoice,
    pending_update: null,
  });
  planCycle(world, subscription);
  if (held.resumes) world.emit('customer.subscription.resumed', subscription);
  else if (waited) world.emit('customer.subscription.pending_update_applied', subscription);
}

/** What a failed attempt means for the invoice's subscription. */
export function subscriptionUnpaid(world: World, invoice: Invoice): void {
  const subscription = subscriptionOf(world, invoice);
  if (subscription === undefined || subscription.ended_at !== null) return;
  if (subscription.status === 'incomplete' || subscription.status === 'paused') return;
  // A schedule's first invoice is not retried: its subscription waits for somebody to pay.
  if (invoice.billing_reason === 'subscription_create') {
    world.update('customer.subscription.updated', subscription, { status: 'past_due' });
    return;
  }
  if (world.state.heldChanges.get(subscription.id)?.invoice === invoice.id) return;
  if (invoice.next_payment_attempt !== null) {
    if (subscription.status === 'active' || subscription.status === 'trialing')
      world.update('customer.subscription.updated', subscription, { status: 'past_due' });
    return;
  }
  const final = world.state.billing.afterFinalRetry;
  if (final === 'canceled') endSubscription(world, subscription, 'payment_failed');
  else if (final === 'paused') pauseNow(world, subscription, 'final_payment_failure');
  else world.update('customer.subscription.updated', subscription, { status: final });
}
