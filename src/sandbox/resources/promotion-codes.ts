import { z } from 'zod';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  flag,
  inRange,
  integer,
  mergeMetadata,
  metadata,
  noParams,
  notModelled,
  pageParams,
  positive,
  text,
  timeRange,
} from '../http/params.ts';
import { type Route, refuseRemoved, route } from '../http/route.ts';
import { newId, randomText } from '../ids.ts';
import type { PromotionCode } from '../wire.ts';
import type { World } from '../world.ts';
import { findCoupon } from './coupons.ts';
import { findCustomer } from './customer-object.ts';

const createParams = z.strictObject({
  active: flag.optional(),
  code: z
    .string()
    .regex(/^[A-Za-z0-9]{1,500}$/, 'Promotion codes can only contain alphanumeric characters')
    .optional(),
  // Until clover the coupon was named directly.
  coupon: text.optional(),
  customer: text.optional(),
  customer_account: notModelled,
  expires_at: integer.optional(),
  max_redemptions: positive.optional(),
  metadata: metadata.optional(),
  promotion: z.strictObject({ coupon: text.optional(), type: z.enum(['coupon']) }).optional(),
  restrictions: z
    .strictObject({
      currency_options: notModelled,
      first_time_transaction: flag.optional(),
      minimum_amount: positive.optional(),
      minimum_amount_currency: text.optional(),
    })
    .optional(),
});
const listParams = z.strictObject({
  ...pageParams,
  active: flag.optional(),
  code: text.optional(),
  coupon: text.optional(),
  created: timeRange.optional(),
  customer: text.optional(),
  customer_account: notModelled,
});

export function findPromotionCode(world: World, id: string, param?: string): PromotionCode {
  const code = world.state.promotionCodes.get(id);
  if (code === undefined) throw missing('promotion code', id, param);
  return code;
}

function hasPaid(world: World, customer: string): boolean {
  return [...world.state.charges.values()].some((charge) => charge.customer === customer && charge.paid);
}

/** https://docs.stripe.com/billing/subscriptions/coupons#promotion-codes: limits by customer, time and history. */
export function usablePromotionCode(
  world: World,
  id: string,
  param: string,
  customer: string | null,
): PromotionCode {
  const code = findPromotionCode(world, id, param);
  const expired = code.expires_at !== null && code.expires_at <= world.now();
  const coupon = world.state.coupons.get(code.promotion.coupon ?? '');
  if (!code.active || expired || coupon?.valid !== true)
    throw invalid('This promotion code is inactive, expired or has been redeemed too often.', {
      code: 'promotion_code_inactive',
      param,
    });
  if (code.customer !== null && code.customer !== customer)
    throw invalid('This promotion code cannot be redeemed by this customer.', {
      code: 'customer_mismatch',
      param,
    });
  if (code.restrictions.first_time_transaction && customer !== null && hasPaid(world, customer))
    throw invalid(
      'This promotion code cannot be redeemed because the associated customer has prior transactions.',
      { param },
    );
  return code;
}

function create(world: World, params: z.output<typeof createParams>): PromotionCode {
  const name = params.promotion?.coupon ?? params.coupon;
  if (name === undefined)
    throw invalid('Missing required param: promotion.', { code: 'parameter_missing', param: 'promotion' });
  const coupon = findCoupon(world, name, params.promotion === undefined ? 'coupon' : 'promotion[coupon]');
  const text = params.code ?? randomText(8).toUpperCase();
  for (const other of world.state.promotionCodes.values())
    if (other.active && other.code.toLowerCase() === text.toLowerCase())
      throw invalid(`An active promotion code with \`code: ${text}\` already exists.`, { param: 'code' });
  const restrictions = params.restrictions;
  const code = {
    id: newId('promo'),
    object: 'promotion_code',
    active: params.active ?? true,
    code: text,
    created: world.now(),
    customer: params.customer === undefined ? null : findCustomer(world, params.customer, 'customer').id,
    customer_account: null,
    expires_at: params.expires_at ?? null,
    livemode: false,
    max_redemptions: params.max_redemptions ?? null,
    metadata: mergeMetadata(null, params.metadata),
    promotion: { coupon: coupon.id, type: 'coupon' },
    restrictions: {
      first_time_transaction: restrictions?.first_time_transaction ?? false,
      minimum_amount: restrictions?.minimum_amount ?? null,
      minimum_amount_currency: restrictions?.minimum_amount_currency ?? null,
    },
    times_redeemed: 0,
  } satisfies PromotionCode;
  world.state.promotionCodes.set(code.id, code);
  world.emit('promotion_code.created', code);
  return code;
}

export const promotionCodeRoutes: Route[] = [
  route('POST', '/promotion_codes', createParams, ({ world, params, version }) => {
    refuseRemoved(params, version, 'coupon');
    return create(world, params);
  }),
  route('GET', '/promotion_codes', listParams, ({ world, params, path }) =>
    page(
      world.state.promotionCodes.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        (params.active === undefined || one.active === params.active) &&
        (params.code === undefined || one.code.toLowerCase() === params.code.toLowerCase()) &&
        (params.coupon === undefined || one.promotion.coupon === params.coupon) &&
        (params.customer === undefined || one.customer === params.customer),
    ),
  ),
  route('GET', '/promotion_codes/:id', noParams, ({ world, id }) => findPromotionCode(world, id)),
  route(
    'POST',
    '/promotion_codes/:id',
    z.strictObject({ active: flag.optional(), metadata: metadata.optional(), restrictions: notModelled }),
    ({ world, params, id }) => {
      const code = findPromotionCode(world, id);
      world.update('promotion_code.updated', code, {
        active: params.active ?? code.active,
        metadata: mergeMetadata(code.metadata, params.metadata),
      });
      return code;
    },
  ),
];
