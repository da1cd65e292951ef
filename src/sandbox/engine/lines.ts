import { newId } from '../ids.ts';
import type { InvoiceLine, Price, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';

interface LineContent {
  amount: number;
  description: string;
  discountable: boolean;
  period: { start: number; end: number };
  unitAmount: string | null;
  price: Price;
  quantity: number;
  parent: InvoiceLine['parent'];
  subscription: string | null;
  currency: string;
  metadata: Record<string, string>;
}

function line(invoice: string, content: LineContent): InvoiceLine {
  return {
    id: newId('il'),
    object: 'line_item',
    amount: content.amount,
    currency: content.currency,
    description: content.description,
    discount_amounts: [],
    discountable: content.discountable,
    discounts: [],
    invoice,
    livemode: false,
    metadata: content.metadata,
    parent: content.parent,
    period: content.period,
    pretax_credit_amounts: [],
    pricing: {
      price_details: { price: content.price.id, product: content.price.product },
      type: 'price_details',
      unit_amount_decimal: content.unitAmount,
    },
    quantity: content.quantity,
    quantity_decimal: String(content.quantity),
    subscription: content.subscription,
    subtotal: content.amount,
    taxes: [],
  } satisfies InvoiceLine;
}

export function money(amount: number, currency: string): string {
  const value = amount / 100;
  return new Intl.NumberFormat('en-US', { style: 'currency', currency: currency.toUpperCase() }).format(
    value,
  );
}

const quantityOf = (item: SubscriptionItem): number => item.quantity ?? 1;

export function itemAmount(item: SubscriptionItem): number {
  return Math.round(Number(item.price.unit_amount_decimal ?? 0) * quantityOf(item));
}

function productName(world: World, price: Price): { name: string; unit: string } {
  const product = world.state.products.get(price.product);
  return { name: product?.name ?? price.product, unit: product?.unit_label ? ` ${product.unit_label}` : '' };
}

function subscriptionParent(
  subscription: Subscription,
  item: SubscriptionItem,
  proration: {
    invoiceItem: string;
    credited: { invoice: string; invoice_line_items: string[] } | null;
  } | null,
): InvoiceLine['parent'] {
  return {
    invoice_item_details: null,
    subscription_item_details: {
      invoice_item: proration?.invoiceItem ?? null,
      proration: proration !== null,
      proration_details: { credited_items: proration?.credited ?? null },
      subscription: subscription.id,
      subscription_item: item.id,
    },
    type: 'subscription_item_details',
  };
}

/** A full period of one item; a trial's costs nothing. */
export function periodLine(
  world: World,
  invoice: string,
  subscription: Subscription,
  item: SubscriptionItem,
  trial: boolean,
): InvoiceLine {
  const { name, unit } = productName(world, item.price);
  const quantity = quantityOf(item);
  const rate = `(at ${money(item.price.unit_amount ?? 0, item.price.currency)} / ${item.price.recurring?.interval})`;
  return line(invoice, {
    amount: trial ? 0 : itemAmount(item),
    description: trial
      ? `Free trial for ${quantity}${unit} × ${name}`
      : `${quantity}${unit} × ${name} ${rate}`,
    discountable: true,
    period: { start: item.current_period_start, end: item.current_period_end },
    unitAmount: trial ? '0' : item.price.unit_amount_decimal,
    price: item.price,
    quantity,
    parent: subscriptionParent(subscription, item, null),
    subscription: subscription.id,
    currency: item.price.currency,
    metadata: { ...subscription.metadata },
  });
}

/** The part of an item's period after `at`, per second; negative gives back what was paid for it. */
export function prorationLine(
  world: World,
  invoice: string,
  subscription: Subscription,
  item: SubscriptionItem,
  at: number,
  kind: 'unused' | 'remaining',
): InvoiceLine {
  const { current_period_start: start, current_period_end: end } = item;
  const share = (end - Math.max(at, start)) / (end - start);
  const amount = Math.round(itemAmount(item) * share);
  const day = new Date(at * 1000).toLocaleDateString('en-GB', {
    day: '2-digit',
    month: 'short',
    year: 'numeric',
    timeZone: 'UTC',
  });
  const quantity = quantityOf(item);
  const label = `${quantity > 1 ? `${quantity} × ` : ''}${productName(world, item.price).name}`;
  return line(invoice, {
    amount: kind === 'unused' ? -amount : amount,
    description: `${kind === 'unused' ? 'Unused' : 'Remaining'} time on ${label} after ${day}`,
    discountable: false,
    period: { start: at, end },
    unitAmount: null,
    price: item.price,
    quantity,
    parent: subscriptionParent(subscription, item, {
      invoiceItem: newId('ii'),
      credited: kind === 'unused' ? creditedItems(world, item) : null,
    }),
    subscription: subscription.id,
    currency: item.price.currency,
    metadata: { ...subscription.metadata },
  });
}

/** The invoice line that charged the period which is now given back. */
function creditedItems(
  world: World,
  item: SubscriptionItem,
): { invoice: string; invoice_line_items: string[] } | null {
  for (const invoice of [...world.state.invoices.values()].reverse()) {
    const lines = (world.state.invoiceLines.get(invoice.id) ?? []).filter(
      (one) =>
        one.amount > 0 &&
        one.parent?.subscription_item_details?.subscription_item === item.id &&
        one.pricing?.price_details?.price === item.price.id &&
        one.period.end === item.current_period_end,
    );
    if (lines.length > 0) return { invoice: invoice.id, invoice_line_items: lines.map((one) => one.id) };
  }
  return null;
}

/** A one-time amount: an invoice item of its own. */
export function oneTimeLine(
  world: World,
  invoice: string,
  item: {
    price: Price;
    quantity: number;
    amount: number;
    description: string | null;
    metadata: Record<string, string>;
  },
): InvoiceLine {
  return line(invoice, {
    amount: item.amount,
    description: item.description ?? productName(world, item.price).name,
    discountable: true,
    period: { start: world.now(), end: world.now() },
    unitAmount: item.price.unit_amount_decimal,
    price: item.price,
    quantity: item.quantity,
    parent: {
      invoice_item_details: {
        invoice_item: newId('ii'),
        proration: false,
        proration_details: { credited_items: null },
        subscription: null,
      },
      subscription_item_details: null,
      type: 'invoice_item_details',
    },
    subscription: null,
    currency: item.price.currency,
    metadata: item.metadata,
  });
}
