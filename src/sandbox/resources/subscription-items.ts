import { z } from 'zod';
import { updateItems } from '../engine/subscription-update.ts';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { flag, metadata, noParams, pageParams, positive, text } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { itemChanges, prorationParams } from './subscription-changes.ts';
import { findSubscription } from './subscriptions.ts';

const fields = {
  ...prorationParams,
  metadata: metadata.optional(),
  plan: text.optional(),
  price: text.optional(),
  quantity: positive.optional(),
};
const createParams = z.strictObject({ ...fields, subscription: text });
const updateParams = z.strictObject({ ...fields, off_session: flag.optional() });
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
  const { plan, price, quantity, metadata: tags } = params;
  updateItems(world, subscription, {
    changes: itemChanges(world, [{ id, plan, price, quantity, metadata: tags, deleted }]),
    prorationBehavior: params.proration_behavior ?? 'create_prorations',
    prorationDate: params.proration_date ?? world.now(),
    paymentBehavior: params.payment_behavior ?? 'allow_incomplete',
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
  route('DELETE', '/subscription_items/:id', z.strictObject(prorationParams), ({ world, params, id }) => {
    change(world, findItem(world, id).subscription, params, id, true);
    return { id, object: 'subscription_item', deleted: true };
  }),
];
