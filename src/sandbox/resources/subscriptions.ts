import { z } from 'zod';
import { pauseSubscription, resumeSubscription } from '../engine/pausing.ts';
import { createSubscription } from '../engine/subscription-create.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { inRange, integer, noParams, notModelled, pageParams, text, timeRange } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { cancelParams, cancelSubscription, updateSubscription } from './subscription-changes.ts';
import { billingMode, modernized, prorationBehavior } from './subscription-params.ts';
import { createParams, requestOf } from './subscription-request.ts';
import { updateParams } from './subscription-update-params.ts';

const pauseParams = z.strictObject({
  bill_for: z
    .strictObject({
      outstanding_usage_through: z.strictObject({ type: z.enum(['none', 'now']) }).optional(),
      unused_time_from: z
        .strictObject({ type: z.enum(['item_current_period_start', 'none', 'now']) })
        .optional(),
    })
    .optional(),
  invoicing_behavior: z.enum(['invoice', 'pending_invoice_item']).optional(),
  type: z.enum(['subscription']).optional(),
});
const resumeParams = z.strictObject({
  billing_cycle_anchor: z
    .union([z.enum(['now', 'unchanged']), z.strictObject({ type: z.enum(['now', 'unchanged']) })])
    .optional(),
  payment_behavior: z.enum(['resume_on_payment_attempt', 'resume_on_payment_success']).optional(),
  proration_behavior: prorationBehavior.optional(),
  proration_date: integer.optional(),
});
const listParams = z.strictObject({
  ...pageParams,
  automatic_tax: notModelled,
  collection_method: text.optional(),
  created: timeRange.optional(),
  current_period_end: timeRange.optional(),
  current_period_start: timeRange.optional(),
  customer: text.optional(),
  customer_account: notModelled,
  plan: text.optional(),
  price: text.optional(),
  status: z
    .enum([
      'active',
      'all',
      'canceled',
      'ended',
      'incomplete',
      'incomplete_expired',
      'past_due',
      'paused',
      'trialing',
      'unpaid',
    ])
    .optional(),
  test_clock: text.optional(),
});

export function findSubscription(world: World, id: string, param?: string): Subscription {
  const subscription = world.state.subscriptions.get(id);
  if (subscription === undefined) throw missing('subscription', id, param);
  return subscription;
}

const ENDED = ['canceled', 'incomplete_expired'];

function hasStatus(subscription: Subscription, wanted: string | undefined): boolean {
  if (wanted === 'all') return true;
  if (wanted === 'ended') return ENDED.includes(subscription.status);
  return wanted === undefined ? !ENDED.includes(subscription.status) : subscription.status === wanted;
}

export const subscriptionRoutes: Route[] = [
  route('POST', '/subscriptions', createParams, ({ world, params, version }) => {
    const modern = { ...params, ...modernized(params, version, undefined) };
    return createSubscription(world, requestOf(world, modern)).subscription;
  }),
  route('GET', '/subscriptions', listParams, ({ world, params, path }) =>
    page(
      world.state.subscriptions.values(),
      params,
      path,
      (one) =>
        hasStatus(one, params.status) &&
        inRange(one.created, params.created) &&
        (params.customer === undefined || one.customer === params.customer) &&
        // Those on a test clock are listed only by their clock or their customer.
        (params.test_clock === undefined
          ? params.customer !== undefined || one.test_clock === null
          : one.test_clock === params.test_clock) &&
        (params.collection_method === undefined || one.collection_method === params.collection_method) &&
        (params.plan === undefined || one.items.data.some((item) => item.price.id === params.plan)) &&
        (params.price === undefined || one.items.data.some((item) => item.price.id === params.price)) &&
        one.items.data.some((item) => inRange(item.current_period_end, params.current_period_end)) &&
        one.items.data.some((item) => inRange(item.current_period_start, params.current_period_start)),
    ),
  ),
  route('GET', '/subscriptions/:id', noParams, ({ world, id }) => findSubscription(world, id)),
  route('POST', '/subscriptions/:id', updateParams, ({ world, params, id, version }) => {
    if (typeof params.billing_cycle_anchor === 'string' && version?.endsWith('.endive') === true)
      throw invalid('Invalid object', { param: 'billing_cycle_anchor' });
    const subscription = findSubscription(world, id);
    const { coupon, plan, price, promotion_code, prorate, quantity, ...rest } = params;
    const legacy = { coupon, plan, price, promotion_code, prorate, quantity };
    const modern = modernized(legacy, version, subscription.items.data[0]?.id);
    return updateSubscription(world, subscription, { ...rest, ...modern });
  }),
  route('DELETE', '/subscriptions/:id', cancelParams, ({ world, params, id }) =>
    cancelSubscription(world, findSubscription(world, id), params),
  ),
  route('DELETE', '/subscriptions/:id/discount', noParams, ({ world, id }) => {
    const subscription = findSubscription(world, id);
    const [first] = subscription.discounts;
    if (first === undefined) throw missing('active discount for subscription', id);
    updateSubscription(world, subscription, { discounts: null });
    return { id: first, object: 'discount', deleted: true };
  }),
  route(
    'POST',
    '/subscriptions/:id/migrate',
    z.strictObject({ billing_mode: billingMode }),
    ({ world, id }) => findSubscription(world, id),
  ),
  route('POST', '/subscriptions/:id/pause', pauseParams, ({ world, params, id }) => {
    const subscription = findSubscription(world, id);
    pauseSubscription(world, subscription, {
      unusedTimeFrom: params.bill_for?.unused_time_from?.type ?? 'now',
      invoicingBehavior: params.invoicing_behavior ?? 'pending_invoice_item',
    });
    return subscription;
  }),
  route('POST', '/subscriptions/:id/resume', resumeParams, ({ world, params, id, version }) => {
    const subscription = findSubscription(world, id);
    const anchor = params.billing_cycle_anchor;
    if (typeof anchor === 'string' && version?.endsWith('.endive') === true)
      throw invalid('Invalid object', { param: 'billing_cycle_anchor' });
    resumeSubscription(world, subscription, {
      anchor: (typeof anchor === 'object' ? anchor.type : anchor) ?? 'now',
      paymentBehavior: params.payment_behavior ?? 'resume_on_payment_attempt',
      prorationBehavior: params.proration_behavior ?? 'create_prorations',
      prorationDate: params.proration_date ?? world.now(),
    });
    return subscription;
  }),
];
