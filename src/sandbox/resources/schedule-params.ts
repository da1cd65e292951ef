import { z } from 'zod';
import { cycleStart } from '../calendar.ts';
import { buildPhase, type Phase } from '../engine/schedule-object.ts';
import { checkRecurring } from '../engine/subscription-object.ts';
import { invalid } from '../errors.ts';
import {
  cosmetic,
  flag,
  integer,
  mergeMetadata,
  metadata,
  notModelled,
  positive,
  quantity,
  text,
  unset,
} from '../http/params.ts';
import type { World } from '../world.ts';
import { pricedBy } from './subscription-item-params.ts';
import {
  discountParams,
  noAutomaticTax,
  priceData,
  prorationBehavior,
  redemptionsOf,
} from './subscription-params.ts';

const sendSettings = z.strictObject({
  account_tax_ids: notModelled,
  custom_fields: notModelled,
  days_until_due: positive.optional(),
  description: cosmetic,
  footer: cosmetic,
  issuer: cosmetic,
});
const collectionMethod = z.enum(['charge_automatically', 'send_invoice']);
const anchor = z.enum(['automatic', 'phase_start']);

const phase = z.strictObject({
  add_invoice_items: notModelled,
  application_fee_percent: notModelled,
  automatic_tax: noAutomaticTax.optional(),
  billing_cycle_anchor: anchor.optional(),
  billing_thresholds: notModelled,
  collection_method: collectionMethod.optional(),
  currency: text.optional(),
  default_payment_method: text.optional(),
  default_tax_rates: cosmetic,
  description: z.union([unset, text]).optional(),
  discounts: discountParams.optional(),
  duration: z
    .strictObject({
      interval: z.enum(['day', 'week', 'month', 'year']),
      interval_count: positive.optional(),
    })
    .optional(),
  end_date: integer.optional(),
  invoice_settings: sendSettings.optional(),
  items: z
    .array(
      z.strictObject({
        billing_thresholds: notModelled,
        discounts: notModelled,
        metadata: metadata.optional(),
        plan: text.optional(),
        price: text.optional(),
        price_data: priceData.optional(),
        quantity: quantity.optional(),
        tax_rates: cosmetic,
        trial: notModelled,
      }),
    )
    .min(1),
  // How often the items' interval runs; replaced by `duration` in clover.
  iterations: positive.optional(),
  metadata: metadata.optional(),
  on_behalf_of: notModelled,
  proration_behavior: prorationBehavior.optional(),
  // Only in updates: the phases of a running schedule keep their start.
  start_date: z.union([z.literal('now'), integer]).optional(),
  transfer_data: notModelled,
  trial: flag.optional(),
  trial_end: z.union([z.literal('now'), integer]).optional(),
});
export const phases = z.array(phase).min(1).max(10);
type GivenPhase = z.output<typeof phase>;

export const scheduleFields = {
  default_settings: z
    .strictObject({
      application_fee_percent: notModelled,
      automatic_tax: noAutomaticTax.optional(),
      billing_cycle_anchor: anchor.optional(),
      billing_thresholds: notModelled,
      collection_method: collectionMethod.optional(),
      default_payment_method: text.optional(),
      description: z.union([unset, text]).optional(),
      invoice_settings: sendSettings.optional(),
      on_behalf_of: notModelled,
      transfer_data: notModelled,
    })
    .optional(),
  end_behavior: z.enum(['cancel', 'none', 'release', 'renew']).optional(),
  metadata: metadata.optional(),
  pause_schedules: notModelled,
};

function endOf(given: GivenPhase, start: number, rhythm: { interval: string; count: number }): number {
  if (given.end_date !== undefined) {
    if (given.end_date <= start)
      throw invalid('The end date of a phase must be after its start date.', { param: 'phases' });
    return given.end_date;
  }
  if (given.duration !== undefined)
    return cycleStart(start, given.duration.interval, given.duration.interval_count ?? 1, 1);
  return cycleStart(start, rhythm.interval, rhythm.count, given.iterations ?? 1);
}

/** Each phase begins where the one before ends. */
export function phasesOf(
  world: World,
  given: readonly GivenPhase[],
  start: number,
  customer: string,
): Phase[] {
  let from = start;
  return given.map((one, index) => {
    const items = one.items.map((item, position) => {
      const param = `phases[${index}][items][${position}]`;
      const price = pricedBy(world, item, param);
      if (price === undefined)
        throw invalid(`Missing required param: ${param}[price].`, {
          code: 'parameter_missing',
          param: `${param}[price]`,
        });
      checkRecurring(price, undefined, `${param}[price]`);
      return { price, quantity: item.quantity ?? 1, metadata: mergeMetadata(null, item.metadata) };
    });
    const first = items[0]?.price.recurring;
    const begins = index === 0 || typeof one.start_date !== 'number' ? from : one.start_date;
    const ends = endOf(one, begins, {
      interval: first?.interval ?? 'month',
      count: first?.interval_count ?? 1,
    });
    from = ends;
    const trialEnd = typeof one.trial_end === 'number' ? one.trial_end : null;
    return buildPhase({
      items: items.map((item) => ({ ...item, price: item.price.id })),
      currency: items[0]?.price.currency ?? 'usd',
      startDate: begins,
      endDate: ends,
      trialEnd: one.trial === true ? ends : trialEnd,
      prorationBehavior: one.proration_behavior ?? 'create_prorations',
      anchor: one.billing_cycle_anchor ?? null,
      metadata: mergeMetadata(null, one.metadata),
      description: one.description ?? null,
      collectionMethod: one.collection_method ?? null,
      daysUntilDue: one.invoice_settings?.days_until_due ?? null,
      defaultPaymentMethod: one.default_payment_method ?? null,
      discounts: redemptionsOf(world, one.discounts, customer).map((redemption) => ({
        coupon: redemption.promotionCode === null ? redemption.coupon.id : null,
        discount: redemption.discount,
        promotion_code: redemption.promotionCode,
      })),
    });
  });
}
