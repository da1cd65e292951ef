import type { Discount, InvoiceItem, InvoiceLine, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { couponAmount, couponById, stillApplies } from './discounts.ts';
import { buildInvoiceItem } from './invoice-items.ts';
import { itemAmount, productName, quantityOf } from './line-object.ts';
import { cycleSeconds } from './lines.ts';

type Credited = NonNullable<InvoiceItem['proration_details']>['credited_items'];

/** What an item's running period was billed with: the newest debit, waiting or invoiced. */
interface Debit {
  net: number;
  period: { start: number; end: number };
  credited: Credited;
}

function pendingDebit(world: World, item: SubscriptionItem): Debit | null {
  const found = [...world.state.invoiceItems.values()].findLast(
    (one) =>
      one.invoice === null &&
      one.amount >= 0 &&
      one.proration &&
      one.parent?.subscription_details?.subscription_item === item.id &&
      one.pricing?.price_details?.price === item.price.id &&
      one.period.end === item.current_period_end,
  );
  if (found === undefined) return null;
  return {
    net: found.amount,
    period: found.period,
    credited: { invoice_item: found.id, type: 'invoice_item' },
  };
}

function isDebit(line: InvoiceLine, item: SubscriptionItem): boolean {
  return (
    line.amount >= 0 &&
    line.parent?.subscription_item_details?.subscription_item === item.id &&
    line.pricing?.price_details?.price === item.price.id &&
    line.period.end === item.current_period_end &&
    line.period.start < line.period.end
  );
}

function invoicedDebit(world: World, item: SubscriptionItem): Debit | null {
  for (const invoice of [...world.state.invoices.values()].reverse()) {
    if (invoice.status === 'void') continue;
    const line = (world.state.invoiceLines.get(invoice.id) ?? []).find((one) => isDebit(one, item));
    if (line === undefined) continue;
    const off = (line.discount_amounts ?? []).reduce((sum, one) => sum + one.amount, 0);
    return {
      net: line.amount - off,
      period: line.period,
      credited: {
        invoice_line_item_details: { invoice: invoice.id, invoice_line_items: [line.id] },
        type: 'invoice_line_items',
      },
    };
  }
  return null;
}

function liveDiscounts(world: World, subscription: Subscription): Discount[] {
  return subscription.discounts.flatMap((id) => {
    const discount = world.state.discounts.get(id);
    return discount !== undefined && stillApplies(world, discount) ? [discount] : [];
  });
}

/** Flexible billing with proration_discounts=included: a debit is net of the discounts that apply. */
function netOf(world: World, subscription: Subscription, full: number): { net: number; label: string } {
  let net = full;
  let label = '';
  for (const discount of liveDiscounts(world, subscription)) {
    const coupon = couponById(world, discount.source.coupon ?? '');
    if (coupon === undefined) continue;
    net -= couponAmount(coupon, net);
    if (coupon.percent_off !== null) label = ` (with ${coupon.percent_off.toFixed(1)}% off)`;
  }
  return { net, label };
}

function dayOf(at: number): string {
  return new Date(at * 1000).toLocaleDateString('en-GB', {
    day: '2-digit',
    month: 'short',
    year: 'numeric',
    timeZone: 'UTC',
  });
}

function proration(
  world: World,
  subscription: Subscription,
  item: SubscriptionItem,
  at: number,
  content: { amount: number; words: string; label: string; credited: Credited },
): InvoiceItem {
  const quantity = quantityOf(item);
  const name = `${quantity > 1 ? `${quantity} × ` : ''}${productName(world, item.price).name}`;
  return buildInvoiceItem(world, {
    customer: subscription.customer,
    currency: item.price.currency,
    // `|| 0` because a credit of nothing must not read -0.
    amount: content.amount || 0,
    description: `${content.words} time on ${name} after ${dayOf(at)}${content.label}`,
    discountable: false,
    discounts: [],
    metadata: { ...subscription.metadata },
    period: { start: at, end: item.current_period_end },
    price: item.price.id,
    product: item.price.product,
    unitAmount: null,
    quantity,
    parent: {
      subscription_details: { subscription: subscription.id, subscription_item: item.id },
      type: 'subscription_details',
    },
    invoice: null,
    proration: true,
    prorationDetails: { credited_items: content.credited, discount_amounts: [] },
  });
}

/**
 * The unused part of what was billed, by the second. Flexible billing credits the debit itself, so a change that
 * was never billed is never credited (https://docs.stripe.com/billing/subscriptions/billing-mode).
 */
export function unusedTime(
  world: World,
  subscription: Subscription,
  item: SubscriptionItem,
  at: number,
): InvoiceItem | null {
  const debit = pendingDebit(world, item) ?? invoicedDebit(world, item);
  if (debit === null) return null;
  const { start, end } = debit.period;
  const share = Math.min(1, Math.max(0, (end - at) / (end - start)));
  return proration(world, subscription, item, at, {
    amount: -Math.round(debit.net * share),
    words: 'Unused',
    label: '',
    credited: debit.credited,
  });
}

/** The rest of the period at the new price or quantity. */
export function remainingTime(
  world: World,
  subscription: Subscription,
  item: SubscriptionItem,
  at: number,
): InvoiceItem {
  const { net, label } = netOf(world, subscription, itemAmount(item));
  const share = Math.max(0, (item.current_period_end - at) / cycleSeconds(subscription, item));
  return proration(world, subscription, item, at, {
    amount: Math.round(net * share),
    words: 'Remaining',
    label,
    credited: null,
  });
}
