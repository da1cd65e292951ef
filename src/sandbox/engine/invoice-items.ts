import { newId } from '../ids.ts';
import type { InvoiceItem, InvoiceLine } from '../wire.ts';
import type { World } from '../world.ts';
import { buildLine } from './line-object.ts';

export interface ItemContent {
  customer: string;
  currency: string;
  amount: number;
  description: string | null;
  discountable: boolean;
  discounts: string[];
  metadata: Record<string, string>;
  period: { start: number; end: number };
  price: string;
  product: string;
  unitAmount: string | null;
  quantity: number;
  parent: InvoiceItem['parent'];
  invoice: string | null;
  proration: boolean;
  prorationDetails?: InvoiceItem['proration_details'];
}

/** An amount that waits for an invoice. Prorations are invoice items too (InvoiceItem.proration). */
export function buildInvoiceItem(world: World, content: ItemContent): InvoiceItem {
  const customer = world.state.customers.get(content.customer);
  return {
    id: newId('ii'),
    object: 'invoiceitem',
    amount: content.amount,
    currency: content.currency,
    customer: content.customer,
    customer_account: null,
    date: world.now(),
    description: content.description,
    discountable: content.discountable,
    discounts: content.discounts,
    invoice: content.invoice,
    livemode: false,
    metadata: content.metadata,
    net_amount: content.amount,
    parent: content.parent,
    period: content.period,
    pricing: {
      price_details: { price: content.price, product: content.product },
      type: 'price_details',
      unit_amount_decimal: content.unitAmount,
    },
    proration: content.proration,
    ...(content.prorationDetails === undefined ? {} : { proration_details: content.prorationDetails }),
    quantity: content.quantity,
    quantity_decimal: String(content.quantity),
    tax_rates: [],
    test_clock: customer?.test_clock ?? null,
  } satisfies InvoiceItem;
}

export function storeInvoiceItem(world: World, item: InvoiceItem): InvoiceItem {
  world.state.invoiceItems.set(item.id, item);
  world.emit('invoiceitem.created', item);
  return item;
}

const subscriptionOf = (item: InvoiceItem): string | null =>
  item.parent?.subscription_details?.subscription ?? null;

/** What waits for a subscription's next invoice; `alone` leaves out what waits for any invoice of the customer. */
export function pendingFor(
  world: World,
  customer: string,
  subscription: string | null,
  alone = false,
): InvoiceItem[] {
  return [...world.state.invoiceItems.values()].filter(
    (item) =>
      item.customer === customer &&
      item.invoice === null &&
      (subscriptionOf(item) === subscription || (!alone && subscriptionOf(item) === null)),
  );
}

/** A manual invoice takes everything that waits, whichever subscription it came from. */
export function pendingOf(world: World, customer: string): InvoiceItem[] {
  return [...world.state.invoiceItems.values()].filter(
    (item) => item.customer === customer && item.invoice === null,
  );
}

export function releaseItems(world: World, invoice: string): void {
  for (const item of world.state.invoiceItems.values()) if (item.invoice === invoice) item.invoice = null;
}

function creditedLines(item: InvoiceItem): { invoice: string; invoice_line_items: string[] } | null {
  return item.proration_details?.credited_items?.invoice_line_item_details ?? null;
}

function parentOf(item: InvoiceItem): InvoiceLine['parent'] {
  const { subscription = null, subscription_item: subscriptionItem } =
    item.parent?.subscription_details ?? {};
  const shared = {
    proration: item.proration,
    proration_details: { credited_items: creditedLines(item) },
    subscription,
  };
  if (subscription !== null && subscriptionItem !== undefined)
    return {
      invoice_item_details: null,
      subscription_item_details: {
        ...shared,
        invoice_item: item.id,
        subscription_item: subscriptionItem,
      },
      type: 'subscription_item_details',
    };
  return {
    invoice_item_details: { ...shared, invoice_item: item.id },
    subscription_item_details: null,
    type: 'invoice_item_details',
  };
}

export function lineOfItem(invoice: string, item: InvoiceItem): InvoiceLine {
  const { price = '', product = '' } = item.pricing?.price_details ?? {};
  return buildLine(invoice, {
    amount: item.amount,
    description: item.description ?? '',
    discountable: item.discountable,
    discounts: [...(item.discounts ?? [])],
    period: { ...item.period },
    unitAmount: item.pricing?.unit_amount_decimal ?? null,
    price,
    product,
    quantity: item.quantity,
    parent: parentOf(item),
    subscription: subscriptionOf(item),
    currency: item.currency,
    metadata: { ...item.metadata },
  });
}
