import type { CheckoutSession, Coupon, PromotionCode } from '../wire.ts';
import type { World } from '../world.ts';
import { couponAmount } from './discounts.ts';

function totals(session: CheckoutSession, coupon: Coupon | null): void {
  const subtotal = session.amount_subtotal ?? 0;
  const off = coupon === null ? 0 : couponAmount(coupon, subtotal);
  session.amount_total = subtotal - off;
  session.total_details = { amount_discount: off, amount_shipping: 0, amount_tax: 0 };
}

/** A session has one discount at most, as Stripe allows. */
export function discountSession(
  world: World,
  session: CheckoutSession,
  coupon: Coupon,
  promotionCode: PromotionCode,
): void {
  const order = world.state.sessionOrders.get(session.id);
  if (order !== undefined) order.coupon = coupon.id;
  session.discounts = [{ coupon: null, promotion_code: promotionCode.id }];
  totals(session, coupon);
}

export function clearSessionDiscount(world: World, session: CheckoutSession): void {
  const order = world.state.sessionOrders.get(session.id);
  if (order !== undefined) order.coupon = null;
  session.discounts = [];
  totals(session, null);
}
