import { z } from 'zod';
import { DAY } from '../calendar.ts';
import { createSubscription } from '../engine/subscription-create.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  flag,
  inRange,
  integer,
  mergeMetadata,
  metadata,
  noParams,
  pageParams,
  positive,
  text,
  timeRange,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customers.ts';
import { findPaymentMethod } from './payment-methods.ts';
import { priceDataParams } from './price-params.ts';
import { createPrice, findPrice } from './prices.ts';
import {
  cancelParams,
  cancelSubscription,
  updateParams,
  updateSubscription,
} from './subscription-changes.ts';
import { couponsOf, discountParams, noAutomaticTax, trialSettings } from './subscription-params.ts';

export const priceData = z.strictObject({ ...priceDataParams, product: text });

const createItem = z.strictObject({
  metadata: metadata.optional(),
  plan: text.optional(),
  price: text.optional(),
  price_data: priceData.optional(),
  quantity: positive.optional(),
});

const createParams = z.strictObject({
  automatic_tax: noAutomaticTax.optional(),
  billing_cycle_anchor: integer.optional(),
  billing_mode: z.strictObject({ type: z.enum(['flexible']) }).optional(),
  cancel_at: integer.optional(),
  cancel_at_period_end: flag.optional(),
  collection_method: z.enum(['charge_automatically', 'send_invoice']).optional(),
  currency: text.optional(),
  customer: text,
  days_until_due: positive.optional(),
  default_payment_method: text.optional(),
  description: text.optional(),
  discounts: discountParams.optional(),
  items: z.array(createItem).min(1),
  metadata: metadata.optional(),
  off_session: flag.optional(),
  payment_behavior: z
    .enum(['allow_incomplete', 'default_incomplete', 'error_if_incomplete', 'pending_if_incomplete'])
    .optional(),
  payment_settings: z
    .strictObject({
      payment_method_types: z.array(text).optional(),
      save_default_payment_method: z.enum(['off', 'on_subscription']).optional(),
    })
    .optional(),
  proration_behavior: z.enum(['always_invoice', 'create_prorations', 'none']).optional(),
  trial_end: z.union([z.literal('now'), integer]).optional(),
  trial_from_plan: flag.optional(),
  trial_period_days: positive.optional(),
  trial_settings: trialSettings.optional(),
});
const listParams = z.strictObject({
  ...pageParams,
  collection_method: text.optional(),
  created: timeRange.optional(),
  current_period_end: timeRange.optional(),
  current_period_start: timeRange.optional(),
  customer: text.optional(),
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

function create(world: World, params: z.output<typeof createParams>): Subscription {
  const customer = findCustomer(world, params.customer, 'customer');
  const items = params.items.map((item, index) => {
    const id = item.price ?? item.plan;
    const quantity = item.quantity ?? 1;
    const tags = mergeMetadata(null, item.metadata);
    if (item.price_data !== undefined)
      return {
        price: createPrice(world, item.price_data.product, item.price_data),
        quantity,
        metadata: tags,
      };
    if (id === undefined)
      throw invalid(`Missing required param: items[${index}][price].`, {
        code: 'parameter_missing',
        param: `items[${index}][price]`,
      });
    return { price: findPrice(world, id, `items[${index}][price]`), quantity, metadata: tags };
  });
  const { trial_period_days: days, trial_end: end } = params;
  const trialEnd = typeof end === 'number' ? end : days === undefined ? null : world.now() + days * DAY;
  const method = params.default_payment_method;
  return createSubscription(world, {
    customer,
    items,
    metadata: mergeMetadata(null, params.metadata),
    description: params.description ?? null,
    defaultPaymentMethod:
      method === undefined ? null : findPaymentMethod(world, method, 'default_payment_method').id,
    trialEnd,
    ...(params.trial_settings === undefined ? {} : { trialSettings: params.trial_settings }),
    billingCycleAnchor: params.billing_cycle_anchor ?? null,
    cancelAt: params.cancel_at_period_end === true ? 'period_end' : (params.cancel_at ?? null),
    coupons: couponsOf(world, params.discounts ?? []),
    paymentBehavior: params.payment_behavior ?? 'allow_incomplete',
    collectionMethod: params.collection_method ?? 'charge_automatically',
    ...(params.payment_settings === undefined ? {} : { paymentSettings: params.payment_settings }),
    onSession: params.off_session !== true,
  }).subscription;
}

const ENDED = ['canceled', 'incomplete_expired'];

function hasStatus(subscription: Subscription, wanted: string | undefined): boolean {
  if (wanted === 'all') return true;
  if (wanted === 'ended') return ENDED.includes(subscription.status);
  return wanted === undefined ? !ENDED.includes(subscription.status) : subscription.status === wanted;
}

export const subscriptionRoutes: Route[] = [
  route('POST', '/subscriptions', createParams, ({ world, params }) => create(world, params)),
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
        (params.price === undefined || one.items.data.some((item) => item.price.id === params.price)) &&
        one.items.data.some((item) => inRange(item.current_period_end, params.current_period_end)) &&
        one.items.data.some((item) => inRange(item.current_period_start, params.current_period_start)),
    ),
  ),
  route('GET', '/subscriptions/:id', noParams, ({ world, id }) => findSubscription(world, id)),
  route('POST', '/subscriptions/:id', updateParams, ({ world, params, id }) =>
    updateSubscription(world, findSubscription(world, id), params),
  ),
  route('DELETE', '/subscriptions/:id', cancelParams, ({ world, params, id }) =>
    cancelSubscription(world, findSubscription(world, id), params),
  ),
];
