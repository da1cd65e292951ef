import { createHash } from 'node:crypto';
import { type ActiveEntitlement, wireList } from '../wire.ts';
import type { World } from '../world.ts';

const ENTITLED = ['active', 'trialing', 'past_due'];

/** One entitlement per customer and feature; the same pair keeps its id for ever. */
function entitlementId(customer: string, feature: string): string {
  const digest = createHash('sha256').update(`${customer}:${feature}`).digest('base64url');
  return `ent_${digest.replaceAll(/[-_]/g, '').slice(0, 24)}`;
}

/** What a customer's subscriptions entitle to, by the features of the products they are for. */
export function activeEntitlements(world: World, customer: string): ActiveEntitlement[] {
  const products = new Set(
    [...world.state.subscriptions.values()]
      .filter((one) => one.customer === customer && ENTITLED.includes(one.status))
      .flatMap((one) => one.items.data.map((item) => item.price.product)),
  );
  const features = new Map(
    [...world.state.productFeatures.values()]
      .filter((one) => products.has(one.product) && one.entitlement_feature.active)
      .map((one) => [one.entitlement_feature.id, one.entitlement_feature]),
  );
  return [...features.values()].map((feature) => ({
    id: entitlementId(customer, feature.id),
    object: 'entitlements.active_entitlement',
    feature: feature.id,
    livemode: false,
    lookup_key: feature.lookup_key,
  }));
}

/** The summary has no id (stripe.md A3); it is announced when what it lists has changed. */
export function syncEntitlements(world: World, customer: string): void {
  const current = activeEntitlements(world, customer);
  const previous = world.state.entitlements.get(customer) ?? [];
  const ids = (list: readonly ActiveEntitlement[]): string =>
    list
      .map((one) => one.id)
      .sort()
      .join();
  if (ids(current) === ids(previous)) return;
  world.state.entitlements.set(customer, current);
  world.emit(
    'entitlements.active_entitlement_summary.updated',
    {
      object: 'entitlements.active_entitlement_summary',
      customer,
      entitlements: wireList(current, `/v1/customer/${customer}/entitlements`),
      livemode: false,
    },
    { entitlements: { data: previous } },
  );
}
