import { type Catalogue, planOfPrice } from '../domain/plans.ts';
import type { SubscriptionState } from '../domain/subscription.ts';
import type { SubscriptionShape } from './shapes.ts';

/**
 * Our snapshot of a subscription. The plan is that of the item whose price is in the catalogue: other items may be on
 * the subscription as well, and Stripe promises no order. A price that has lost its lookup key (it moved to a newer
 * price) or that nobody knows keeps the plan which the subscription had: an unknown price is no downgrade.
 * @param known the stored snapshot of this subscription
 */
export function snapshotOf(
  catalogue: Catalogue,
  subscription: SubscriptionShape,
  known: SubscriptionState | undefined,
): SubscriptionState {
  const { items } = subscription;
  const planItem =
    items.data.find(({ price }) => planOfPrice(catalogue, price.lookup_key) !== undefined) ??
    items.data.find(({ id }) => id === known?.itemId) ??
    items.data[0];
  if (!planItem) throw new Error(`Subscription ${subscription.id} has no item.`);
  const plan = planOfPrice(catalogue, planItem.price.lookup_key)?.plan ?? known?.plan ?? null;
  // A pending cancellation is either of the two (stripe.md A1): the Portal sets cancel_at alone, classic billing the flag.
  const cancelAt =
    subscription.cancel_at ?? (subscription.cancel_at_period_end ? planItem.current_period_end : null);
  return {
    id: subscription.id,
    customerId: subscription.customer,
    status: subscription.status,
    plan,
    priceId: planItem.price.id,
    lookupKey: planItem.price.lookup_key ?? keptLookupKey(known, planItem.price.id),
    interval: planItem.price.recurring?.interval ?? 'month',
    quantity: planItem.quantity ?? 1,
    itemId: planItem.id,
    currentPeriodStart: planItem.current_period_start,
    currentPeriodEnd: planItem.current_period_end,
    trialEnd: subscription.trial_end,
    cancelAt,
    canceledAt: subscription.canceled_at,
    endedAt: subscription.ended_at,
    startedAt: subscription.created,
    latestInvoiceId: subscription.latest_invoice,
  };
}

/** The lookup key that a price had when we met it first. */
export function keptLookupKey(known: SubscriptionState | undefined, priceId: string): string | null {
  return known?.priceId === priceId ? known.lookupKey : null;
}
