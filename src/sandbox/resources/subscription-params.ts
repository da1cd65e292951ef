import { z } from 'zod';
import type { Redemption } from '../engine/subscription-object.ts';
import { invalid } from '../errors.ts';
import { flag, given, integer, metadata, notModelled, positive, text, unset } from '../http/params.ts';
import { refuseRemoved } from '../http/route.ts';
import type { Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { findCoupon } from './coupons.ts';
import { priceDataParams } from './price-params.ts';
import { usablePromotionCode } from './promotion-codes.ts';

export const discountParams = z.union([
  unset,
  z.array(
    z.strictObject({ coupon: text.optional(), promotion_code: text.optional(), discount: text.optional() }),
  ),
]);
export const priceData = z.strictObject({ ...priceDataParams, product: text });

/** What this sandbox cannot do it refuses rather than ignores. */
export const noAutomaticTax = z.strictObject({ enabled: z.enum(['false']), liability: notModelled });

const endBehavior = z.strictObject({
  billing_cycle_anchor: notModelled,
  missing_payment_method: z.enum(['cancel', 'create_invoice', 'pause']),
});

export const trialSettings = z.strictObject({
  end_behavior: endBehavior.transform(({ missing_payment_method }) => ({
    billing_cycle_anchor: null,
    missing_payment_method,
  })),
});

export const paymentBehavior = z.enum([
  'allow_incomplete',
  'default_incomplete',
  'error_if_incomplete',
  'pending_if_incomplete',
]);
export const prorationBehavior = z.enum(['always_invoice', 'create_prorations', 'none']);

export const addInvoiceItems = z.array(
  z.strictObject({
    discountable: flag.optional(),
    discounts: notModelled,
    metadata: metadata.optional(),
    period: notModelled,
    price: text.optional(),
    price_data: priceData.optional(),
    quantity: positive.optional(),
    tax_rates: notModelled,
  }),
);

export const invoiceSettings = z.strictObject({
  account_tax_ids: notModelled,
  custom_fields: notModelled,
  description: z.union([unset, text]).optional(),
  footer: z.union([unset, text]).optional(),
  issuer: z.strictObject({ type: z.enum(['self']) }).optional(),
});

export const paymentSettings = z.strictObject({
  payment_method_options: notModelled,
  payment_method_types: z.union([unset, z.array(text)]).optional(),
  save_default_payment_method: z.enum(['off', 'on_subscription']).optional(),
});

/** Valid for Stripe and without effect in a sandbox that has no tax, Connect, thresholds or meters. */
export const unmodelledSubscription = {
  application_fee_percent: notModelled,
  billing_schedules: notModelled,
  billing_thresholds: notModelled,
  default_source: notModelled,
  default_tax_rates: notModelled,
  on_behalf_of: notModelled,
  pending_invoice_item_interval: notModelled,
  transfer_data: notModelled,
};

export const cancelAt = z.enum(['min_period_end', 'max_period_end', 'max_billed_until']);

export const billingMode = z.strictObject({
  type: z.enum(['flexible']),
  flexible: z.strictObject({ proration_discounts: z.enum(['included']).optional() }).optional(),
});

export function redemptionsOf(
  world: World,
  given: z.output<typeof discountParams> | undefined,
  customer: string | null,
): Redemption[] {
  return (given ?? []).map((one, index) => {
    const param = `discounts[${index}]`;
    if (one.promotion_code !== undefined) {
      const code = usablePromotionCode(world, one.promotion_code, `${param}[promotion_code]`, customer);
      const coupon = findCoupon(world, code.promotion.coupon ?? '', `${param}[promotion_code]`);
      return { coupon, promotionCode: code.id, discount: null };
    }
    if (one.discount !== undefined) {
      const discount = world.state.discounts.get(one.discount);
      const coupon = findCoupon(world, discount?.source.coupon ?? one.discount, `${param}[discount]`);
      return { coupon, promotionCode: null, discount: discount?.id ?? null };
    }
    return { coupon: redeemable(world, one.coupon, param), promotionCode: null, discount: null };
  });
}

function redeemable(world: World, id: string | undefined, param: string) {
  if (id === undefined)
    throw invalid('You must provide one of `coupon`, `promotion_code` or `discount`.', { param });
  const coupon = findCoupon(world, id, `${param}[coupon]`);
  if (!coupon.valid) throw invalid(`Coupon expired: ${id}`, { code: 'coupon_expired', param: 'coupon' });
  return coupon;
}

export function withInvoiceSettings(
  current: Subscription['invoice_settings'],
  given: z.output<typeof invoiceSettings>,
): Subscription['invoice_settings'] {
  return {
    ...current,
    ...(given.description === undefined ? {} : { description: given.description }),
    ...(given.footer === undefined ? {} : { footer: given.footer }),
  };
}

export const resumesAt = z.union([unset, integer]).optional();

/** How single-item subscriptions were written until items, coupons until discounts (gone by basil). */
export const legacyParams = {
  coupon: text.optional(),
  plan: text.optional(),
  price: text.optional(),
  promotion_code: text.optional(),
  prorate: flag.optional(),
  quantity: positive.optional(),
};
const LEGACY = ['coupon', 'plan', 'price', 'promotion_code', 'prorate', 'quantity'] as const;

type Legacy = z.output<z.ZodObject<typeof legacyParams>>;
type Modern = {
  items?: { id?: string; price?: string; quantity?: number }[];
  discounts?: { coupon?: string; promotion_code?: string }[];
  proration_behavior?: 'create_prorations' | 'none';
};

/** The present way to say it; a caller of the pinned version is refused (stripe.md F2, lenient without a version). */
export function modernized(params: Legacy, version: string | null, item: string | undefined): Modern {
  for (const name of LEGACY) refuseRemoved(params, version, name);
  const { coupon, plan, price = plan, promotion_code: code, prorate, quantity } = params;
  return {
    ...(price === undefined && quantity === undefined
      ? {}
      : { items: [given({ id: item, price, quantity })] }),
    ...(coupon === undefined && code === undefined
      ? {}
      : { discounts: [given({ coupon: code === undefined ? coupon : undefined, promotion_code: code })] }),
    ...(prorate === undefined
      ? {}
      : { proration_behavior: prorate ? ('create_prorations' as const) : ('none' as const) }),
  };
}
