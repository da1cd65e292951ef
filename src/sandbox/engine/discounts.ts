import { cycleStart } from '../calendar.ts';
import { newId } from '../ids.ts';
import type { Coupon, Customer, Discount, InvoiceLine, Subscription } from '../wire.ts';
import type { World } from '../world.ts';

export function couponById(world: World, id: string): Coupon | undefined {
  return world.state.coupons.get(id) ?? world.state.deletedCoupons.get(id);
}

export interface DiscountTarget {
  customer: string | null;
  subscription: string | null;
  checkoutSession?: string | null;
  invoice?: string | null;
  invoiceItem?: string | null;
  promotionCode?: string | null;
}

function endOf(coupon: Coupon, start: number): number | null {
  return coupon.duration === 'repeating'
    ? cycleStart(start, 'month', coupon.duration_in_months ?? 1, 1)
    : null;
}

export function createDiscount(world: World, coupon: Coupon, target: DiscountTarget): Discount {
  const start = world.now();
  const discount = {
    id: newId('di'),
    object: 'discount',
    checkout_session: target.checkoutSession ?? null,
    customer: target.customer,
    customer_account: null,
    end: endOf(coupon, start),
    invoice: target.invoice ?? null,
    invoice_item: target.invoiceItem ?? null,
    promotion_code: target.promotionCode ?? null,
    source: { coupon: coupon.id, type: 'coupon' },
    start,
    subscription: target.subscription,
    subscription_item: null,
  } satisfies Discount;
  world.state.discounts.set(discount.id, discount);
  redeem(world, coupon, discount.promotion_code);
  return discount;
}

function redeem(world: World, coupon: Coupon, promotionCode: string | null): void {
  coupon.times_redeemed += 1;
  if (coupon.max_redemptions !== null && coupon.times_redeemed >= coupon.max_redemptions)
    coupon.valid = false;
  const code = world.state.promotionCodes.get(promotionCode ?? '');
  if (code === undefined) return;
  code.times_redeemed += 1;
  if (code.max_redemptions !== null && code.times_redeemed >= code.max_redemptions) code.active = false;
}

/** A `once` coupon is used up by the first invoice it took something off, a `repeating` one ends on its day. */
export function stillApplies(world: World, discount: Discount): boolean {
  const coupon = couponById(world, discount.source.coupon ?? '');
  if (discount.end !== null && discount.end <= world.now()) return false;
  return coupon?.duration !== 'once' || !usedBefore(world, discount.id);
}

function usedBefore(world: World, id: string): boolean {
  for (const invoice of world.state.invoices.values()) {
    // An invoice of nothing, as a trial's, takes nothing off and uses nothing up.
    const used = invoice.total_discount_amounts?.some((one) => one.discount === id && one.amount > 0);
    if (invoice.status !== 'void' && used === true) return true;
  }
  return false;
}

/** A subscription's own discounts, or its customer's when it has none. */
export function discountsFor(world: World, customer: Customer, subscription: Subscription | null): string[] {
  const own = subscription?.discounts ?? [];
  const ids = own.length > 0 ? own : customer.discount == null ? [] : [customer.discount.id];
  return ids.filter((id) => {
    const discount = world.state.discounts.get(id);
    return discount !== undefined && stillApplies(world, discount);
  });
}

/** Takes what is over off its customer or subscription, and says so. */
export function endDiscounts(world: World, subscription: Subscription): void {
  const over = subscription.discounts.filter((id) => {
    const discount = world.state.discounts.get(id);
    return discount === undefined || !stillApplies(world, discount);
  });
  if (over.length === 0) return;
  world.update('customer.subscription.updated', subscription, {
    discounts: subscription.discounts.filter((id) => !over.includes(id)),
  });
  for (const id of over) announceEnd(world, id);
}

export function announceEnd(world: World, id: string): void {
  const discount = world.state.discounts.get(id);
  if (discount === undefined) return;
  discount.end ??= world.now();
  world.emit('customer.discount.deleted', discount);
}

/** What a coupon takes off an amount; amounts off are in the coupon's currency and never go below zero. */
export function couponAmount(coupon: Coupon, subtotal: number): number {
  if (coupon.percent_off !== null) return Math.round((subtotal * coupon.percent_off) / 100);
  return Math.min(coupon.amount_off ?? 0, subtotal);
}

function eligible(coupon: Coupon, line: InvoiceLine): boolean {
  const products = coupon.applies_to?.products;
  const product = line.pricing?.price_details?.product ?? '';
  return line.discountable && line.amount > 0 && (products === undefined || products.includes(product));
}

/** Writes one discount's share on the lines it applies to; returns the total. */
function applyDiscount(coupon: Coupon, id: string, lines: readonly InvoiceLine[]): number {
  const remaining = (line: InvoiceLine): number =>
    line.amount - (line.discount_amounts ?? []).reduce((sum, one) => sum + one.amount, 0);
  const subtotal = lines.reduce((sum, line) => sum + remaining(line), 0);
  const total = couponAmount(coupon, subtotal);
  let left = total;
  lines.forEach((line, index) => {
    const last = index === lines.length - 1;
    const share = last ? left : Math.min(left, Math.round((total * remaining(line)) / Math.max(1, subtotal)));
    left -= share;
    line.discount_amounts = [...(line.discount_amounts ?? []), { amount: share, discount: id }];
    line.pretax_credit_amounts = [
      ...(line.pretax_credit_amounts ?? []),
      { amount: share, discount: id, type: 'discount' },
    ];
  });
  return total;
}

/** Lines' own discounts first, then the invoice's (https://docs.stripe.com/billing/subscriptions/coupons#stacking). */
export function applyDiscounts(
  world: World,
  lines: readonly InvoiceLine[],
  discountIds: readonly string[],
): { amount: number; discount: string }[] {
  const totals: { amount: number; discount: string }[] = [];
  const couponOf = (id: string): Coupon | undefined =>
    couponById(world, world.state.discounts.get(id)?.source.coupon ?? '');
  for (const line of lines)
    for (const id of line.discounts) {
      const coupon = couponOf(id);
      if (coupon !== undefined && eligible(coupon, line))
        totals.push({ amount: applyDiscount(coupon, id, [line]), discount: id });
    }
  for (const id of discountIds) {
    const coupon = couponOf(id);
    if (coupon === undefined) continue;
    const amount = applyDiscount(
      coupon,
      id,
      lines.filter((line) => eligible(coupon, line)),
    );
    totals.push({ amount, discount: id });
  }
  return totals;
}
