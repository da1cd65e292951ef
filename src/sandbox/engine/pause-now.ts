import type { Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { syncEntitlements } from './entitlements.ts';

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

/** Paused because its last attempt at a renewal failed; paying that invoice resumes it (stripe.md A1). */
export function isPausedByDunning({ status, status_details: details }: Subscription): boolean {
  return status === 'paused' && details?.paused.subscription.type === 'final_payment_failure';
}
