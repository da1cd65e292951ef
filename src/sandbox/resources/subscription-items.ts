import { z } from 'zod';
import { changeSubscription } from '../engine/subscription-update.ts';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { flag, noParams, pageParams, text } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { itemChanges, itemFields } from './subscription-item-params.ts';
import { prorationParams } from './subscription-update-params.ts';
import { findSubscription } from './subscriptions.ts';

const fields = { ...prorationParams, ...itemFields };
const createParams = z.strictObject({ ...fields, subscription: text });
const updateParams = z.strictObject({ ...fields, off_session: flag.optional() });
const deleteParams = z.strictObject({ ...prorationParams, clear_usage: flag.optional() });
const listParams = z.strictObject({ ...pageParams, subscription: text });

function findItem(world: World, id: string): { subscription: Subscription; item: SubscriptionItem } {
  for (const subscription of world.state.subscriptions.values()) {
    const item = subscription.items.data.find((one) => one.id === id);
    if (item !== undefined) return { subscription, item };
  }
  throw missing('subscription_item', id);
}

function change(
  world: World,
  subscription: Subscription,
  params: z.output<typeof updateParams>,
  id: string | undefined,
  deleted = false,
): void {
  const { off_session, payment_behavior, proration_behavior, proration_date, ...item } = params;
  changeSubscription(world, subscription, {
    changes: itemChanges(world, [{ ...item, id, deleted }], () => ''),
    prorationBehavior: proration_behavior ?? 'create_prorations',
    prorationDate: proration_date ?? world.now(),
    paymentBehavior: payment_behavior ?? 'allow_incomplete',
    offSession: off_session ?? false,
    resetAnchor: false,
  });
}

export const subscriptionItemRoutes: Route[] = [
  route('POST', '/subscription_items', createParams, ({ world, params }) => {
    const { subscription: id, ...rest } = params;
    const subscription = findSubscription(world, id, 'subscription');
    change(world, subscription, rest, undefined);
    return subscription.items.data.at(-1) ?? {};
  }),
  route('GET', '/subscription_items', listParams, ({ world, params, path }) =>
    page(findSubscription(world, params.subscription, 'subscription').items.data, params, path),
  ),
  route('GET', '/subscription_items/:id', noParams, ({ world, id }) => findItem(world, id).item),
  route('POST', '/subscription_items/:id', updateParams, ({ world, params, id }) => {
    change(world, findItem(world, id).subscription, params, id);
    return findItem(world, id).item;
  }),
  route('DELETE', '/subscription_items/:id', deleteParams, ({ world, params, id }) => {
    const { clear_usage: _, ...rest } = params;
    change(world, findItem(world, id).subscription, rest, id, true);
    return { id, object: 'subscription_item', deleted: true };
  }),
];
