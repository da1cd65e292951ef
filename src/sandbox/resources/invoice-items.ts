import { z } from 'zod';
import { oneTimeLine } from '../engine/lines.ts';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { integer, mergeMetadata, metadata, noParams, pageParams, positive, text } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { newId } from '../ids.ts';
import type { InvoiceItem, InvoiceLine, Price } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customers.ts';
import { createPrice, findPrice } from './prices.ts';
import { createProduct } from './products.ts';

const createParams = z.strictObject({
  amount: integer.optional(),
  currency: text.optional(),
  customer: text,
  description: text.optional(),
  metadata: metadata.optional(),
  pricing: z.strictObject({ price: text }).optional(),
  quantity: positive.optional(),
});
const listParams = z.strictObject({ ...pageParams, customer: text.optional(), invoice: text.optional() });

/** An ad-hoc amount gets a price of its own (stripe.md B5). */
function priceFor(world: World, params: z.output<typeof createParams>): Price {
  if (params.pricing !== undefined) return findPrice(world, params.pricing.price, 'pricing[price]');
  const product = createProduct(world, params.description ?? 'Invoice item');
  return createPrice(world, product.id, {
    currency: params.currency ?? 'usd',
    unit_amount: Math.abs(params.amount ?? 0),
  });
}

function create(world: World, params: z.output<typeof createParams>): InvoiceItem {
  const customer = findCustomer(world, params.customer, 'customer');
  const price = priceFor(world, params);
  const quantity = params.quantity ?? 1;
  const now = world.now();
  const item = {
    id: newId('ii'),
    object: 'invoiceitem',
    amount: params.amount ?? (price.unit_amount ?? 0) * quantity,
    currency: price.currency,
    customer: customer.id,
    customer_account: null,
    date: now,
    description: params.description ?? null,
    discountable: true,
    discounts: [],
    invoice: null,
    livemode: false,
    metadata: mergeMetadata(null, params.metadata),
    net_amount: params.amount ?? (price.unit_amount ?? 0) * quantity,
    parent: null,
    period: { end: now, start: now },
    pricing: {
      price_details: { price: price.id, product: price.product },
      type: 'price_details',
      unit_amount_decimal: price.unit_amount_decimal,
    },
    proration: false,
    quantity,
    quantity_decimal: String(quantity),
    tax_rates: [],
    test_clock: null,
  } satisfies InvoiceItem;
  world.state.invoiceItems.set(item.id, item);
  world.emit('invoiceitem.created', item);
  return item;
}

/** What has waited for the customer's next manual invoice. */
export function takePendingItems(world: World, customer: string): ((invoice: string) => InvoiceLine)[] {
  const pending = [...world.state.invoiceItems.values()].filter(
    (item) => item.customer === customer && item.invoice === null,
  );
  return pending.map((item) => (invoice: string) => {
    item.invoice = invoice;
    const price = findPrice(world, item.pricing?.price_details?.price ?? '');
    const { amount, description, metadata: tags } = item;
    return oneTimeLine(world, invoice, {
      price,
      quantity: item.quantity,
      amount,
      description,
      metadata: tags ?? {},
    });
  });
}

export const invoiceItemRoutes: Route[] = [
  route('POST', '/invoiceitems', createParams, ({ world, params }) => create(world, params)),
  route('GET', '/invoiceitems', listParams, ({ world, params, path }) =>
    page(
      world.state.invoiceItems.values(),
      params,
      path,
      (item) =>
        (params.customer === undefined || item.customer === params.customer) &&
        (params.invoice === undefined || item.invoice === params.invoice),
    ),
  ),
  route('GET', '/invoiceitems/:id', noParams, ({ world, id }) => {
    const item = world.state.invoiceItems.get(id);
    if (item === undefined) throw missing('invoiceitem', id);
    return item;
  }),
];
