import { newId } from '../ids.ts';
import type { Coupon, Discount, InvoiceLine } from '../wire.ts';
import type { World } from '../world.ts';

export function createDiscount(
  world: World,
  coupon: Coupon,
  target: { customer: string | null; subscription: string | null; checkoutSession: string | null },
): Discount {
  const start = world.now();
  const months = coupon.duration === 'repeating' ? (coupon.duration_in_months ?? 1) : null;
  const end =
    months === null
      ? null
      : Math.floor(new Date(start * 1000).setUTCMonth(new Date(start * 1000).getUTCMonth() + months) / 1000);
  const discount = {
    id: newId('di'),
    object: 'discount',
    checkout_session: target.checkoutSession,
    customer: target.customer,
    customer_account: null,
    end,
    invoice: null,
    invoice_item: null,
    promotion_code: null,
    source: { coupon: coupon.id, type: 'coupon' },
    start,
    subscription: target.subscription,
    subscription_item: null,
  } satisfies Discount;
  world.state.discounts.set(discount.id, discount);
  coupon.times_redeemed += 1;
  return discount;
}

/** What a coupon takes off an amount; amounts off are in the coupon's currency and never go below zero. */
export function couponAmount(coupon: Coupon, subtotal: number): number {
  if (coupon.percent_off !== null) return Math.round((subtotal * coupon.percent_off) / 100);
  return Math.min(coupon.amount_off ?? 0, subtotal);
}

/** Writes each discount's share on the discountable lines; returns the totals per discount. */
export function applyDiscounts(
  world: World,
  lines: readonly InvoiceLine[],
  discountIds: readonly string[],
): { amount: number; discount: string }[] {
  const totals: { amount: number; discount: string }[] = [];
  for (const id of discountIds) {
    const coupon = world.state.coupons.get(world.state.discounts.get(id)?.source.coupon ?? '');
    if (coupon === undefined) continue;
    const eligible = lines.filter((line) => line.discountable && line.amount > 0);
    const remaining = (line: InvoiceLine): number =>
      line.amount - (line.discount_amounts ?? []).reduce((sum, one) => sum + one.amount, 0);
    const subtotal = eligible.reduce((sum, line) => sum + remaining(line), 0);
    const total = couponAmount(coupon, subtotal);
    let left = total;
    eligible.forEach((line, index) => {
      const last = index === eligible.length - 1;
      const share = last
        ? left
        : Math.min(left, Math.round((total * remaining(line)) / Math.max(1, subtotal)));
      left -= share;
      line.discount_amounts = [...(line.discount_amounts ?? []), { amount: share, discount: id }];
      line.pretax_credit_amounts = [
        ...(line.pretax_credit_amounts ?? []),
        { amount: share, discount: id, type: 'discount' },
      ];
    });
    totals.push({ amount: total, discount: id });
  }
  return totals;
}
