import { z } from 'zod';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  decimal,
  inRange,
  mergeMetadata,
  metadata,
  noParams,
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
  currency: text.optional(),
  duration: z.enum(['forever', 'once', 'repeating']).optional(),
  duration_in_months: positive.optional(),
  max_redemptions: positive.optional(),
  metadata: metadata.optional(),
  name: text.optional(),
  percent_off: decimal.optional(),
});

export function findCoupon(world: World, id: string, param?: string): Coupon {
  const coupon = world.state.coupons.get(id);
  if (coupon === undefined) throw missing('coupon', id, param);
  return coupon;
}

export const couponRoutes: Route[] = [
  route('POST', '/coupons', createParams, ({ world, params }) => {
    if ((params.amount_off === undefined) === (params.percent_off === undefined))
      throw invalid('You must pass either percent_off or amount_off', { code: 'parameter_missing' });
    const coupon = {
      id: params.id ?? randomText(8),
      object: 'coupon',
      amount_off: params.amount_off ?? null,
      created: world.now(),
      currency: params.currency ?? null,
      duration: params.duration ?? 'once',
      duration_in_months: params.duration_in_months ?? null,
      livemode: false,
      max_redemptions: params.max_redemptions ?? null,
      metadata: mergeMetadata(null, params.metadata),
      name: params.name ?? null,
      percent_off: params.percent_off ?? null,
      redeem_by: null,
      times_redeemed: 0,
      valid: true,
    } satisfies Coupon;
    world.state.coupons.set(coupon.id, coupon);
    world.emit('coupon.created', coupon);
    return coupon;
  }),
  route(
    'GET',
    '/coupons',
    z.strictObject({ ...pageParams, created: timeRange.optional() }),
    ({ world, params, path }) =>
      page(world.state.coupons.values(), params, path, (coupon) => inRange(coupon.created, params.created)),
  ),
  route('GET', '/coupons/:id', noParams, ({ world, id }) => findCoupon(world, id)),
  route('DELETE', '/coupons/:id', noParams, ({ world, id }) => {
    const coupon = findCoupon(world, id);
    world.state.coupons.delete(id);
    world.emit('coupon.deleted', coupon);
    return { id, object: 'coupon', deleted: true };
  }),
];
