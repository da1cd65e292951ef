import type { Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { syncEntitlements } from './entitlements.ts';
import { payingMethod } from './payments.ts';
import { endSubscription } from './subscription-end.ts';

type PauseReason = NonNullable<Subscription['status_details']>['paused']['subscription']['type'];

/** Paused subscriptions make no invoices until they are resumed. */
export function pauseNow(
  world: World,
  subscription: Subscription,
  type: PauseReason,
  changes: Partial<Subscription> = {},
): void {
  world.update('customer.subscription.updated', subscription, {
    ...changes,
    status: 'paused',
    status_details: {
      paused: { subscription: { type }, transitioned_at: world.now(), type: 'subscription' },
    },
  });
  world.emit('customer.subscription.paused', subscription);
  syncEntitlements(world, subscription.customer);
}

/** Without a way to pay, a trial ends as its settings say. */
export function trialGoesOn(
  world: World,
  subscription: Subscription,
  changes: Partial<Subscription> = {},
): boolean {
  const method = payingMethod(world, subscription.customer, subscription.default_payment_method);
  const behavior = subscription.trial_settings?.end_behavior.missing_payment_method;
  if (method !== null || subscription.collection_method === 'send_invoice') return true;
  if (behavior === 'create_invoice' || behavior === undefined) return true;
  if (behavior === 'cancel') endSubscription(world, subscription, null);
  else pauseNow(world, subscription, 'trial_end_without_payment_method', changes);
  return false;
}
