import { clearSessionDiscount, discountSession } from '../engine/checkout-promotion.ts';
import { StripeError } from '../errors.ts';
import { usablePromotionCode } from '../resources/promotion-codes.ts';
import type { CheckoutSession, PromotionCode } from '../wire.ts';
import type { World } from '../world.ts';

const UNKNOWN = 'This code is invalid.';

/** Codes are typed by people: case does not matter, and an inactive one is as good as none. */
function named(world: World, text: string): PromotionCode | undefined {
  const wanted = text.trim().toLowerCase();
  return [...world.state.promotionCodes.values()].find(
    (one) => one.active && one.code.toLowerCase() === wanted,
  );
}

function belowMinimum({ restrictions }: PromotionCode, session: CheckoutSession): boolean {
  const { minimum_amount: minimum, minimum_amount_currency: currency } = restrictions;
  return minimum !== null && (currency !== session.currency || (session.amount_subtotal ?? 0) < minimum);
}

/** Takes the code, or returns why not, for the person to read. */
export function redeemPromotionCode(
  world: World,
  session: CheckoutSession,
  text: string,
): string | undefined {
  const code = session.allow_promotion_codes === true ? named(world, text) : undefined;
  const coupon = world.state.coupons.get(code?.promotion.coupon ?? '');
  if (code === undefined || coupon === undefined) return UNKNOWN;
  try {
    usablePromotionCode(world, code.id, 'promotion_code', session.customer);
  } catch (error) {
    if (error instanceof StripeError) return error.message;
    throw error;
  }
  if (belowMinimum(code, session)) return 'This order does not reach the minimum amount for this code.';
  discountSession(world, session, coupon, code);
  return undefined;
}

export function removePromotionCode(world: World, session: CheckoutSession): void {
  if (session.allow_promotion_codes === true) clearSessionDiscount(world, session);
}
