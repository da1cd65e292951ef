import { z } from 'zod';
import { announceEnd } from '../engine/discounts.ts';
import { storeInvoiceItem } from '../engine/invoice-items.ts';
import { unusedTime } from '../engine/proration.ts';
import { redeemAll } from '../engine/subscription-create.ts';
import { endSubscription } from '../engine/subscription-end.ts';
import { cancellation, planEnd, planVisit } from '../engine/subscription-times.ts';
import { changeSubscription, invoicePending } from '../engine/subscription-update.ts';
import { invalid } from '../errors.ts';
import { flag, mergeMetadata } from '../http/params.ts';
import type { Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { findPaymentMethod } from './payment-methods.ts';
import { extraItems, itemChanges } from './subscription-item-params.ts';
import { redemptionsOf, withInvoiceSettings } from './subscription-params.ts';
import { cancellationDetails, type UpdateParams } from './subscription-update-params.ts';

export const cancelParams = z.strictObject({
  cancellation_details: cancellationDetails.optional(),
  invoice_now: flag.optional(),
  prorate: flag.optional(),
});

const PENDING_UPDATE_PARAMS = [
  'add_invoice_items',
  'billing_cycle_anchor',
  'items',
  'off_session',
  'payment_behavior',
  'proration_behavior',
  'proration_date',
  'trial_end',
  'trial_from_plan',
];

/** https://docs.stripe.com/billing/subscriptions/pending-updates-reference#supported-attributes */
function checkPendingParams(params: UpdateParams): void {
  if (params.payment_behavior !== 'pending_if_incomplete') return;
  const [other] = Object.keys(params).filter((key) => !PENDING_UPDATE_PARAMS.includes(key));
  // The SDKs of others send it along with every change; as long as it changes nothing it does no harm.
  if (other === undefined || (other === 'cancel_at_period_end' && params.cancel_at_period_end === false))
    return;
  throw invalid(
    `Passing ${other} is not supported when \`payment_behavior\` is set to \`pending_if_incomplete\`.`,
    { param: other },
  );
}

function checkLive(subscription: Subscription, params: UpdateParams): void {
  const onlyWords = Object.keys(params).every((key) => key === 'metadata' || key === 'cancellation_details');
  if (onlyWords || subscription.ended_at === null) return;
  throw invalid('A canceled subscription can only update its cancellation_details and metadata.');
}

/** A schedule decides how its subscription ends. Repeating that it does not end changes nothing. */
function checkSchedule(subscription: Subscription, params: UpdateParams): void {
  const { cancel_at: at, cancel_at_period_end: atPeriodEnd } = params;
  const undoes = atPeriodEnd === false && subscription.cancel_at_period_end;
  if (subscription.schedule === null || (at === undefined && atPeriodEnd !== true && !undoes)) return;
  throw invalid(
    `The subscription is managed by the subscription schedule \`${subscription.schedule}\`, and updating any cancelation behavior directly is not allowed. Please update the schedule instead.`,
    { param: at === undefined ? 'cancel_at_period_end' : 'cancel_at' },
  );
}

function changedDiscounts(
  world: World,
  subscription: Subscription,
  params: UpdateParams,
): Partial<Subscription> {
  const { discounts } = params;
  // An empty array leaves them as they are, an empty string clears them (SubscriptionUpdateParams.discounts).
  if (discounts === undefined || (discounts !== null && discounts.length === 0)) return {};
  const redemptions = redemptionsOf(world, discounts, subscription.customer);
  return {
    discounts: redeemAll(world, redemptions, {
      customer: subscription.customer,
      subscription: subscription.id,
    }),
  };
}

function collectionFields(subscription: Subscription, params: UpdateParams): Partial<Subscription> {
  const { collection_method: method, days_until_due: days } = params;
  const next = method ?? subscription.collection_method;
  if (next === 'send_invoice' && (days ?? subscription.days_until_due) === null)
    throw invalid('Missing required param: days_until_due.', {
      code: 'parameter_missing',
      param: 'days_until_due',
    });
  if (next !== 'send_invoice' && days !== undefined)
    throw invalid(
      'You can only set `days_until_due` for a subscription with `collection_method` set to `send_invoice`.',
      { param: 'days_until_due' },
    );
  if (method === undefined && days === undefined) return {};
  return {
    collection_method: next,
    days_until_due: next === 'send_invoice' ? (days ?? subscription.days_until_due) : null,
  };
}

function simpleChanges(
  world: World,
  subscription: Subscription,
  params: UpdateParams,
): Partial<Subscription> {
  const { description, default_payment_method: method, pause_collection: pause } = params;
  return {
    ...(params.metadata === undefined
      ? {}
      : { metadata: mergeMetadata(subscription.metadata, params.metadata) }),
    ...(description === undefined ? {} : { description }),
    ...(method === undefined
      ? {}
      : {
          default_payment_method:
            method === null ? null : findPaymentMethod(world, method, 'default_payment_method').id,
        }),
    ...(pause === undefined
      ? {}
      : {
          pause_collection: pause && { behavior: pause.behavior, resumes_at: pause.resumes_at ?? null },
        }),
    ...(params.trial_settings === undefined ? {} : { trial_settings: params.trial_settings }),
    ...(params.invoice_settings === undefined
      ? {}
      : { invoice_settings: withInvoiceSettings(subscription.invoice_settings, params.invoice_settings) }),
    ...(params.payment_settings === undefined
      ? {}
      : { payment_settings: paymentSettings(subscription, params) }),
    ...collectionFields(subscription, params),
    ...changedDiscounts(world, subscription, params),
    ...cancellationChanges(world, subscription, params),
  };
}

function paymentSettings(subscription: Subscription, params: UpdateParams): Subscription['payment_settings'] {
  const { payment_method_types: types, save_default_payment_method: save } = params.payment_settings ?? {};
  const current = subscription.payment_settings;
  return {
    payment_method_options: current?.payment_method_options ?? null,
    payment_method_types:
      types === undefined
        ? (current?.payment_method_types ?? null)
        : (types as NonNullable<Subscription['payment_settings']>['payment_method_types']),
    save_default_payment_method: save ?? current?.save_default_payment_method ?? 'off',
  };
}

function cancellationChanges(
  world: World,
  subscription: Subscription,
  params: UpdateParams,
): Partial<Subscription> {
  const { cancel_at: at, cancel_at_period_end: atPeriodEnd, cancellation_details: details } = params;
  if (at != null && atPeriodEnd === true)
    throw invalid('You may only specify one of these parameters: cancel_at, cancel_at_period_end.');
  let changes: Partial<Subscription> = {};
  if (atPeriodEnd === true) changes = cancellation(world, subscription, 'period_end');
  else if (atPeriodEnd === false && subscription.cancel_at_period_end)
    changes = cancellation(world, subscription, null);
  if (typeof at === 'number' && at <= world.now())
    throw invalid('`cancel_at` must be a timestamp in the future.', { param: 'cancel_at' });
  if (at !== undefined) changes = cancellation(world, subscription, at);
  if (details === undefined) return changes;
  const current = changes.cancellation_details ?? subscription.cancellation_details;
  return {
    ...changes,
    cancellation_details: {
      comment: details.comment === undefined ? (current?.comment ?? null) : details.comment,
      feedback: details.feedback === undefined ? (current?.feedback ?? null) : details.feedback,
      feedback_option: current?.feedback_option ?? null,
      reason: current?.reason ?? null,
    },
  };
}

function replan(world: World, subscription: Subscription, before: Subscription): void {
  if (subscription.cancel_at !== before.cancel_at) planEnd(world, subscription);
  const resumes = subscription.pause_collection?.resumes_at ?? null;
  if (resumes !== null) planVisit(world, subscription.id, resumes);
  for (const id of before.discounts) if (!subscription.discounts.includes(id)) announceEnd(world, id);
  for (const id of subscription.discounts)
    if (!before.discounts.includes(id))
      world.emit('customer.discount.created', world.state.discounts.get(id) ?? {});
}

export function updateSubscription(
  world: World,
  subscription: Subscription,
  params: UpdateParams,
): Subscription {
  checkLive(subscription, params);
  checkPendingParams(params);
  checkSchedule(subscription, params);
  const before = structuredClone(subscription);
  const anchor = params.billing_cycle_anchor;
  const resetAnchor = anchor === 'now' || (typeof anchor === 'object' && anchor.type === 'now');
  const changes = itemChanges(world, params.items ?? []);
  const extras = extraItems(world, subscription, params.add_invoice_items ?? []);
  const fields = simpleChanges(world, subscription, params);
  const bills = changes.length + extras.length > 0 || resetAnchor || params.trial_end !== undefined;
  if (bills)
    changeSubscription(world, subscription, {
      changes,
      extras,
      fields,
      prorationBehavior: params.proration_behavior ?? 'create_prorations',
      prorationDate: params.proration_date ?? world.now(),
      paymentBehavior: params.payment_behavior ?? 'allow_incomplete',
      offSession: params.off_session ?? false,
      resetAnchor,
      trialEnd: params.trial_end,
    });
  else world.update('customer.subscription.updated', subscription, fields);
  replan(world, subscription, before);
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
  if (params.prorate === true && subscription.status !== 'trialing')
    for (const item of subscription.items.data) {
      const credit = unusedTime(world, subscription, item, world.now());
      if (credit !== null) storeInvoiceItem(world, credit);
    }
  const { comment, feedback } = params.cancellation_details ?? {};
  endSubscription(world, subscription, 'cancellation_requested', {
    comment: comment ?? null,
    feedback: feedback ?? null,
  });
  if (params.invoice_now === true) invoicePending(world, subscription);
  return subscription;
}
