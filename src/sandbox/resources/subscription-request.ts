import { z } from 'zod';
import { cycleStart, DAY } from '../calendar.ts';
import type { NewItem, NewSubscription } from '../engine/subscription-object.ts';
import { invalid } from '../errors.ts';
import { flag, integer, mergeMetadata, metadata, notModelled, positive, text } from '../http/params.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { findPaymentMethod } from './payment-methods.ts';
import { extraItems, itemFields, pricedBy } from './subscription-item-params.ts';
import {
  addInvoiceItems,
  billingMode,
  cancelAt,
  discountParams,
  invoiceSettings,
  legacyParams,
  noAutomaticTax,
  paymentBehavior,
  paymentSettings,
  prorationBehavior,
  redemptionsOf,
  trialSettings,
  unmodelledSubscription,
} from './subscription-params.ts';

export const createParams = z.strictObject({
  ...legacyParams,
  ...unmodelledSubscription,
  add_invoice_items: addInvoiceItems.optional(),
  automatic_tax: noAutomaticTax.optional(),
  backdate_start_date: notModelled,
  billing_cycle_anchor: integer.optional(),
  billing_cycle_anchor_config: notModelled,
  billing_mode: billingMode.optional(),
  cancel_at: z.union([cancelAt, integer]).optional(),
  cancel_at_period_end: flag.optional(),
  collection_method: z.enum(['charge_automatically', 'send_invoice']).optional(),
  currency: text.optional(),
  customer: text,
  customer_account: notModelled,
  days_until_due: positive.optional(),
  default_payment_method: text.optional(),
  description: text.optional(),
  discounts: discountParams.optional(),
  invoice_settings: invoiceSettings.optional(),
  items: z.array(z.strictObject(itemFields)).min(1).max(20).optional(),
  metadata: metadata.optional(),
  off_session: flag.optional(),
  payment_behavior: paymentBehavior.optional(),
  payment_settings: paymentSettings.optional(),
  proration_behavior: prorationBehavior.optional(),
  trial_end: z.union([z.literal('now'), integer]).optional(),
  trial_from_plan: flag.optional(),
  trial_period_days: positive.optional(),
  trial_settings: trialSettings.optional(),
});
export type CreateParams = z.output<typeof createParams>;

function itemsOf(world: World, params: CreateParams): NewItem[] {
  const seen = new Set<string>();
  if (params.items === undefined)
    throw invalid('Missing required param: items.', { code: 'parameter_missing', param: 'items' });
  return params.items.map((item, index) => {
    const param = `items[${index}]`;
    const price = pricedBy(world, item, param);
    if (price === undefined)
      throw invalid(`Missing required param: ${param}[price].`, {
        code: 'parameter_missing',
        param: `${param}[price]`,
      });
    if (seen.has(price.id))
      throw invalid(`Cannot add multiple subscription items with the same plan: ${price.id}`, {
        param: `${param}[price]`,
      });
    seen.add(price.id);
    return { price, quantity: item.quantity ?? 1, metadata: mergeMetadata(null, item.metadata) };
  });
}

function trialEndOf(world: World, params: CreateParams, items: readonly NewItem[]): number | null {
  const { trial_period_days: days, trial_end: end } = params;
  if (days !== undefined && end !== undefined)
    throw invalid('You may only specify one of these parameters: trial_end, trial_period_days.');
  if (typeof end === 'number') {
    if (end <= world.now())
      throw invalid('Invalid timestamp: must be an integer Unix timestamp in the future.', {
        param: 'trial_end',
      });
    return end;
  }
  const fromPlan = params.trial_from_plan === true ? items[0]?.price.recurring?.trial_period_days : undefined;
  const total = days ?? fromPlan ?? null;
  return total === null || end === 'now' ? null : world.now() + total * DAY;
}

function checkCollection(params: CreateParams): void {
  const sends = params.collection_method === 'send_invoice';
  if (sends && params.days_until_due === undefined)
    throw invalid('Missing required param: days_until_due.', {
      code: 'parameter_missing',
      param: 'days_until_due',
    });
  if (!sends && params.days_until_due !== undefined)
    throw invalid(
      'You can only set `days_until_due` for a subscription with `collection_method` set to `send_invoice`.',
      { param: 'days_until_due' },
    );
}

function checkAnchor(world: World, params: CreateParams, items: readonly NewItem[]): void {
  const anchor = params.billing_cycle_anchor;
  const first = items[0]?.price.recurring;
  if (anchor === undefined || first == null) return;
  if (anchor < world.now())
    throw invalid('The billing cycle anchor must be a timestamp in the future.', {
      param: 'billing_cycle_anchor',
    });
  if (anchor > cycleStart(world.now(), first.interval, first.interval_count, 1))
    throw invalid('billing_cycle_anchor cannot be later than next natural billing date for plan.', {
      param: 'billing_cycle_anchor',
    });
}

/** What the parameters ask for; the preview of a new subscription asks the same. */
export function requestOf(world: World, params: CreateParams): NewSubscription {
  const customer = findCustomer(world, params.customer, 'customer');
  const items = itemsOf(world, params);
  checkCollection(params);
  checkAnchor(world, params, items);
  const method = params.default_payment_method;
  return {
    customer,
    items,
    metadata: mergeMetadata(null, params.metadata),
    description: params.description ?? null,
    defaultPaymentMethod:
      method === undefined ? null : findPaymentMethod(world, method, 'default_payment_method').id,
    trialEnd: trialEndOf(world, params, items),
    ...(params.trial_settings === undefined ? {} : { trialSettings: params.trial_settings }),
    billingCycleAnchor: params.billing_cycle_anchor ?? null,
    prorationBehavior: params.proration_behavior ?? 'create_prorations',
    cancelAt: params.cancel_at_period_end === true ? 'period_end' : (params.cancel_at ?? null),
    redemptions: redemptionsOf(world, params.discounts, customer.id),
    paymentBehavior: params.payment_behavior ?? 'allow_incomplete',
    collectionMethod: params.collection_method ?? 'charge_automatically',
    daysUntilDue: params.days_until_due ?? null,
    ...(params.payment_settings === undefined ? {} : { paymentSettings: params.payment_settings }),
    invoiceItems: extraItems(world, { customer: customer.id }, params.add_invoice_items ?? []),
    onSession: params.off_session !== true,
  };
}
