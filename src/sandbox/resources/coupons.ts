import { z } from 'zod';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  decimal,
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
import { type Route, route } from '../http/route.ts';
import { randomText } from '../ids.ts';
import type { Coupon } from '../wire.ts';
import type { World } from '../world.ts';

const createParams = z.strictObject({
  id: text.optional(),
  amount_off: positive.optional(),
  applies_to: z.strictObject({ products: z.array(text) }).optional(),
  currency: text.optional(),
  currency_options: notModelled,
  duration: z.enum(['forever', 'once', 'repeating']).optional(),
  duration_in_months: positive.optional(),
  max_redemptions: positive.optional(),
  metadata: metadata.optional(),
  name: text.max(40).optional(),
  percent_off: decimal.optional(),
  redeem_by: integer.optional(),
});
const updateParams = z.strictObject({
  currency_options: notModelled,
  metadata: metadata.optional(),
  name: text.max(40).optional(),
});
type CreateParams = z.output<typeof createParams>;

/** A coupon ends by its date as well as by its redemptions; the date passes without anybody touching it. */
export function findCoupon(world: World, id: string, param?: string): Coupon {
  const coupon = world.state.coupons.get(id);
  if (coupon === undefined) throw missing('coupon', id, param);
  if (coupon.redeem_by !== null && coupon.redeem_by <= world.now()) coupon.valid = false;
  return coupon;
}

function check(world: World, params: CreateParams): void {
  const { amount_off: amount, percent_off: percent, duration, duration_in_months: months } = params;
  if (params.id !== undefined && world.state.coupons.has(params.id))
    throw invalid('Coupon already exists.', { code: 'resource_already_exists', param: 'id' });
  if ((amount === undefined) === (percent === undefined))
    throw invalid(
      amount === undefined
        ? 'Must provide either percent_off or amount_off'
        : 'You may only specify one of these parameters: amount_off, percent_off.',
      { code: 'parameter_missing', param: 'percent_off' },
    );
  if (percent !== undefined && (percent <= 0 || percent > 100))
    throw invalid('percent_off must be greater than 0 and less than or equal to 100', {
      param: 'percent_off',
    });
  if (amount !== undefined && params.currency === undefined)
    throw invalid('You must pass currency when passing amount_off', {
      code: 'parameter_missing',
      param: 'currency',
    });
  if (duration === 'repeating' && months === undefined)
    throw invalid('You must pass duration_in_months when passing duration=repeating', {
      code: 'parameter_missing',
      param: 'duration_in_months',
    });
  if (duration !== 'repeating' && months !== undefined)
    throw invalid('You can only pass duration_in_months when passing duration=repeating', {
      param: 'duration_in_months',
    });
}

function create(world: World, params: CreateParams): Coupon {
  check(world, params);
  const coupon = {
    id: params.id ?? randomText(8),
    object: 'coupon',
    amount_off: params.amount_off ?? null,
    ...(params.applies_to === undefined ? {} : { applies_to: params.applies_to }),
    created: world.now(),
    currency: params.amount_off === undefined ? null : (params.currency ?? null),
    duration: params.duration ?? 'once',
    duration_in_months: params.duration_in_months ?? null,
    livemode: false,
    max_redemptions: params.max_redemptions ?? null,
    metadata: mergeMetadata(null, params.metadata),
    name: params.name ?? null,
    percent_off: params.percent_off ?? null,
    redeem_by: params.redeem_by ?? null,
    times_redeemed: 0,
    valid: true,
  } satisfies Coupon;
  world.state.coupons.set(coupon.id, coupon);
  world.emit('coupon.created', coupon);
  return coupon;
}

export const couponRoutes: Route[] = [
  route('POST', '/coupons', createParams, ({ world, params }) => create(world, params)),
  route(
    'GET',
    '/coupons',
    z.strictObject({ ...pageParams, created: timeRange.optional() }),
    ({ world, params, path }) =>
      page(world.state.coupons.values(), params, path, (coupon) => inRange(coupon.created, params.created)),
  ),
  route('GET', '/coupons/:id', noParams, ({ world, id }) => findCoupon(world, id)),
  route('POST', '/coupons/:id', updateParams, ({ world, params, id }) => {
    const coupon = findCoupon(world, id);
    world.update('coupon.updated', coupon, {
      metadata: mergeMetadata(coupon.metadata, params.metadata),
      name: params.name ?? coupon.name,
    });
    return coupon;
  }),
  // A deleted coupon can no longer be redeemed; discounts made from it go on (Coupon.del).
  route('DELETE', '/coupons/:id', noParams, ({ world, id }) => {
    const coupon = findCoupon(world, id);
    coupon.valid = false;
    world.emit('coupon.deleted', coupon);
    world.state.deletedCoupons.set(id, coupon);
    world.state.coupons.delete(id);
    return { id, object: 'coupon', deleted: true };
  }),
];
