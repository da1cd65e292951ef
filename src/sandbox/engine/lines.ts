import { cycleAt } from '../calendar.ts';
import type { InvoiceLine, Price, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { buildLine, itemAmount, money, productName, quantityOf } from './line-object.ts';

/** The length of the whole cycle that an item's period is a part of: a period before the anchor is shorter. */
export function cycleSeconds(subscription: Subscription, item: SubscriptionItem): number {
  const { interval = 'month', interval_count: count = 1 } = item.price.recurring ?? {};
  const cycle = cycleAt(subscription.billing_cycle_anchor, interval, count, item.current_period_start);
  return cycle.end - cycle.start;
}

export { money };

export type Billing = 'full' | 'trial' | 'stub';

function describePeriod(world: World, item: SubscriptionItem, billing: Billing): string {
  const { name, unit } = productName(world, item.price);
  const quantity = quantityOf(item);
  if (billing === 'trial') return `Free trial for ${quantity}${unit} × ${name}`;
  const { unit_amount: amount, currency, recurring } = item.price;
  const every = recurring?.interval_count === 1 ? '' : `every ${recurring?.interval_count} `;
  const plural = every === '' ? '' : 's';
  return `${quantity}${unit} × ${name} (at ${money(amount ?? 0, currency)} / ${every}${recurring?.interval}${plural})`;
}

/** A period of one item: a trial's costs nothing, a stub before the anchor costs its share of the cycle. */
export function periodLine(
  world: World,
  invoice: string,
  subscription: Subscription,
  item: SubscriptionItem,
  billing: Billing,
): InvoiceLine {
  const { current_period_start: start, current_period_end: end } = item;
  const share = billing === 'stub' ? (end - start) / cycleSeconds(subscription, item) : 1;
  return buildLine(invoice, {
    amount: billing === 'trial' ? 0 : Math.round(itemAmount(item) * share),
    description: describePeriod(world, item, billing),
    discountable: true,
    discounts: itemDiscounts(item),
    period: { start, end },
    unitAmount: billing === 'trial' ? '0' : item.price.unit_amount_decimal,
    price: item.price.id,
    product: item.price.product,
    quantity: quantityOf(item),
    parent: {
      invoice_item_details: null,
      subscription_item_details: {
        invoice_item: null,
        proration: billing === 'stub',
        proration_details: { credited_items: null },
        subscription: subscription.id,
        subscription_item: item.id,
      },
      type: 'subscription_item_details',
    },
    subscription: subscription.id,
    currency: item.price.currency,
    metadata: { ...subscription.metadata },
  });
}

function itemDiscounts(item: SubscriptionItem): string[] {
  return item.discounts.map((one) => one);
}

/** A one-time amount of the first invoice of a subscription. */
export function oneTimeLine(
  world: World,
  invoice: string,
  item: { price: Price; quantity: number; invoiceItem: string },
): InvoiceLine {
  const { price, quantity } = item;
  return buildLine(invoice, {
    amount: Math.round(Number(price.unit_amount_decimal ?? 0) * quantity),
    description: productName(world, price).name,
    discountable: true,
    period: { start: world.now(), end: world.now() },
    unitAmount: price.unit_amount_decimal,
    price: price.id,
    product: price.product,
    quantity,
    parent: {
      invoice_item_details: {
        invoice_item: item.invoiceItem,
        proration: false,
        proration_details: { credited_items: null },
        subscription: null,
      },
      subscription_item_details: null,
      type: 'invoice_item_details',
    },
    subscription: null,
    currency: price.currency,
    metadata: {},
  });
}
