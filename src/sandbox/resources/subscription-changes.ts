import { z } from 'zod';
import { createDiscount } from '../engine/discounts.ts';
import { prorationLine } from '../engine/lines.ts';
import { renewSubscription } from '../engine/renewal.ts';
import { periodEnd, planCycle, planTrialNotice, setCancelAt } from '../engine/subscription-create.ts';
import { endSubscription } from '../engine/subscription-end.ts';
import { type ItemChange, invoicePending, updateItems } from '../engine/subscription-update.ts';
import { invalid } from '../errors.ts';
import { flag, integer, mergeMetadata, metadata, positive, text, unset } from '../http/params.ts';
import type { Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { findPaymentMethod } from './payment-methods.ts';
import { findPrice } from './prices.ts';
import { couponsOf, discountParams, trialSettings } from './subscription-params.ts';

const cancellationDetails = z.strictObject({
  comment: z.union([unset, text]).optional(),
  feedback: z
    .union([
      unset,
      z.enum([
        'customer_service',
        'low_quality',
        'missing_features',
        'other',
        'switched_service',
        'too_complex',
        'too_expensive',
        'unused',
      ]),
    ])
    .optional(),
});

const itemUpdate = z.strictObject({
  id: text.optional(),
  clear_usage: flag.optional(),
  deleted: flag.optional(),
  metadata: metadata.optional(),
  plan: text.optional(),
  price: text.optional(),
  quantity: positive.optional(),
});

export const prorationParams = {
  payment_behavior: z
    .enum(['allow_incomplete', 'default_incomplete', 'error_if_incomplete', 'pending_if_incomplete'])
    .optional(),
  proration_behavior: z.enum(['always_invoice', 'create_prorations', 'none']).optional(),
  proration_date: integer.optional(),
};

export const updateParams = z.strictObject({
  ...prorationParams,
  // A string until endive, an object since (stripe.md A1).
  billing_cycle_anchor: z.strictObject({ type: z.enum(['now', 'unchanged']) }).optional(),
  cancel_at: z
    .union([unset, z.enum(['min_period_end', 'max_period_end', 'max_billed_until']), integer])
    .optional(),
  cancel_at_period_end: flag.optional(),
  cancellation_details: cancellationDetails.optional(),
  collection_method: z.enum(['charge_automatically', 'send_invoice']).optional(),
  days_until_due: positive.optional(),
  default_payment_method: z.union([unset, text]).optional(),
  description: z.union([unset, text]).optional(),
  discounts: discountParams.optional(),
  items: z.array(itemUpdate).optional(),
  metadata: metadata.optional(),
  off_session: flag.optional(),
  pause_collection: z
    .union([
      unset,
      z.strictObject({
        behavior: z.enum(['keep_as_draft', 'mark_uncollectible', 'void']),
        resumes_at: integer.optional(),
      }),
    ])
    .optional(),
  trial_end: z.union([z.literal('now'), integer]).optional(),
  trial_settings: trialSettings.optional(),
});
export type UpdateParams = z.output<typeof updateParams>;

export const cancelParams = z.strictObject({
  cancellation_details: cancellationDetails.optional(),
  invoice_now: flag.optional(),
  prorate: flag.optional(),
});

export function itemChanges(world: World, items: z.output<typeof itemUpdate>[]): ItemChange[] {
  return items.map((item, index) => {
    const price = item.price ?? item.plan;
    return {
      id: item.id,
      price: price === undefined ? undefined : findPrice(world, price, `items[${index}][price]`),
      quantity: item.quantity,
      metadata: item.metadata === undefined ? undefined : mergeMetadata(null, item.metadata),
      deleted: item.deleted ?? false,
    };
  });
}

function checkLive(subscription: Subscription): void {
  if (subscription.ended_at !== null)
    throw invalid(`A canceled subscription can only update its cancellation_details and metadata.`);
}

function simpleChanges(
  world: World,
  subscription: Subscription,
  params: UpdateParams,
): Partial<Subscription> {
  const { description, default_payment_method: method, pause_collection: pause } = params;
  const changes: Partial<Subscription> = { metadata: mergeMetadata(subscription.metadata, params.metadata) };
  if (description !== undefined) changes.description = description;
  if (method !== undefined)
    changes.default_payment_method =
      method === null ? null : findPaymentMethod(world, method, 'default_payment_method').id;
  if (pause !== undefined)
    changes.pause_collection = pause && { behavior: pause.behavior, resumes_at: pause.resumes_at ?? null };
  if (params.trial_settings !== undefined) changes.trial_settings = params.trial_settings;
  if (params.collection_method !== undefined) changes.collection_method = params.collection_method;
  if (params.discounts !== undefined)
    changes.discounts = couponsOf(world, params.discounts).map(
      (coupon) =>
        createDiscount(world, coupon, {
          customer: subscription.customer,
          subscription: subscription.id,
          checkoutSession: null,
        }).id,
    );
  return changes;
}

function changeCancellation(world: World, subscription: Subscription, params: UpdateParams): void {
  const before = structuredClone(subscription);
  const { cancel_at: at, cancel_at_period_end: atPeriodEnd, cancellation_details: details } = params;
  if (atPeriodEnd === true) setCancelAt(world, subscription, 'period_end');
  else if (atPeriodEnd === false && subscription.cancel_at_period_end) setCancelAt(world, subscription, null);
  if (typeof at === 'number') {
    if (at <= world.now()) throw invalid('`cancel_at` must be in the future.', { param: 'cancel_at' });
    setCancelAt(world, subscription, at);
  } else if (typeof at === 'string') setCancelAt(world, subscription, periodEnd(subscription));
  else if (at === null) setCancelAt(world, subscription, null);
  const current = subscription.cancellation_details;
  if (details !== undefined && current !== null)
    subscription.cancellation_details = {
      ...current,
      ...(details.comment === undefined ? {} : { comment: details.comment }),
      ...(details.feedback === undefined ? {} : { feedback: details.feedback }),
    };
  announce(world, subscription, before);
}

/** Puts the old values back so that one update event tells the whole change. */
function announce(world: World, subscription: Subscription, before: Subscription): void {
  const after = structuredClone(subscription);
  Object.assign(subscription, before);
  world.update('customer.subscription.updated', subscription, after);
}

/** A trial's new end is the next anchor; `now` ends it and starts the first paid period. */
function changeTrial(world: World, subscription: Subscription, end: number | 'now'): void {
  if (end === 'now' && subscription.status !== 'trialing') return;
  const at = end === 'now' ? world.now() : end;
  const data = subscription.items.data.map((item) => ({ ...item, current_period_end: at }));
  world.update('customer.subscription.updated', subscription, {
    trial_end: at,
    trial_start: subscription.trial_start ?? world.now(),
    billing_cycle_anchor: at,
    items: { ...subscription.items, data },
    ...(end === 'now' ? {} : { status: 'trialing' as const }),
  });
  if (end === 'now') renewSubscription(world, subscription);
  else {
    planCycle(world, subscription);
    planTrialNotice(world, subscription);
  }
}

export function updateSubscription(
  world: World,
  subscription: Subscription,
  params: UpdateParams,
): Subscription {
  const onlyWords = Object.keys(params).every((key) => key === 'metadata' || key === 'cancellation_details');
  if (!onlyWords) checkLive(subscription);
  const resetAnchor = params.billing_cycle_anchor?.type === 'now';
  const changes = itemChanges(world, params.items ?? []);
  world.update('customer.subscription.updated', subscription, simpleChanges(world, subscription, params));
  if (params.trial_end !== undefined) changeTrial(world, subscription, params.trial_end);
  if (changes.length > 0 || resetAnchor)
    updateItems(world, subscription, {
      changes,
      prorationBehavior: params.proration_behavior ?? 'create_prorations',
      prorationDate: params.proration_date ?? world.now(),
      paymentBehavior: params.payment_behavior ?? 'allow_incomplete',
      resetAnchor,
    });
  changeCancellation(world, subscription, params);
  return subscription;
}

/** Cancel now. `prorate` gives back the unused time, `invoice_now` settles what is pending at once. */
export function cancelSubscription(
  world: World,
  subscription: Subscription,
  params: z.output<typeof cancelParams>,
): Subscription {
  if (subscription.ended_at !== null)
    throw invalid(`No such subscription: '${subscription.id}'`, { code: 'resource_missing', param: 'id' });
  if (params.prorate === true && subscription.status !== 'trialing') {
    const before = structuredClone(subscription);
    const at = world.now();
    for (const item of before.items.data)
      world.state.pendingLines.push({
        subscription: subscription.id,
        build: (invoice) => prorationLine(world, invoice, before, item, at, 'unused'),
      });
  }
  const { comment, feedback } = params.cancellation_details ?? {};
  endSubscription(world, subscription, 'cancellation_requested', {
    comment: comment ?? null,
    feedback: feedback ?? null,
  });
  if (params.invoice_now === true) invoicePending(world, subscription);
  return subscription;
}
