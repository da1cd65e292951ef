import { z } from 'zod';
import { text, unset } from '../http/params.ts';
import type { Coupon } from '../wire.ts';
import type { World } from '../world.ts';
import { findCoupon } from './coupons.ts';

export const discountParams = z.union([
  unset,
  z.array(
    z.strictObject({ coupon: text.optional(), promotion_code: text.optional(), discount: text.optional() }),
  ),
]);
/** What this sandbox cannot do it refuses rather than ignores. */
export const noAutomaticTax = z.strictObject({ enabled: z.enum(['false']) });

const trialEnd = z.strictObject({ missing_payment_method: z.enum(['cancel', 'create_invoice', 'pause']) });

export const trialSettings = z.strictObject({
  end_behavior: trialEnd.transform((given) => ({ billing_cycle_anchor: null, ...given })),
});

export function couponsOf(world: World, given: z.output<typeof discountParams> | undefined): Coupon[] {
  return (given ?? []).flatMap((one, index) =>
    one.coupon === undefined ? [] : [findCoupon(world, one.coupon, `discounts[${index}][coupon]`)],
  );
}
