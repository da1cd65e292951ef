import type { Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { pauseNow } from './pause-now.ts';
import { payingMethod } from './payments.ts';
import { endSubscription } from './subscription-end.ts';

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
