import { z } from 'zod';
import { buildInvoiceItem, lineOfItem, storeInvoiceItem } from '../engine/invoice-items.ts';
import { recompute } from '../engine/invoice-object.ts';
import { redeemAll } from '../engine/subscription-create.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  flag,
  inRange,
  integer,
  mergeMetadata,
  metadata,
  noParams,
  notModelled,
  pageParams,
  positive,
  text,
  timeRange,
  unset,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Invoice, InvoiceItem, Price } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { createPrice, findPrice } from './price-object.ts';
import { priceDataParams } from './price-params.ts';
import { createProduct } from './products.ts';
import { discountParams, redemptionsOf } from './subscription-params.ts';
import { findSubscription } from './subscriptions.ts';

const fields = {
  amount: integer.optional(),
  description: z.union([unset, text]).optional(),
  discountable: flag.optional(),
  discounts: discountParams.optional(),
  metadata: metadata.optional(),
  period: z.strictObject({ end: integer, start: integer }).optional(),
  price_data: z.strictObject({ ...priceDataParams, recurring: notModelled, product: text }).optional(),
  pricing: z.strictObject({ price: text.optional() }).optional(),
  quantity: positive.optional(),
  quantity_decimal: notModelled,
  tax_behavior: notModelled,
  tax_code: notModelled,
  tax_rates: notModelled,
  unit_amount_decimal: notModelled,
};
const createParams = z.strictObject({
  ...fields,
  currency: text.optional(),
  customer: text,
  customer_account: notModelled,
  invoice: text.optional(),
  // Until basil the price was named directly.
  price: text.optional(),
  unit_amount: integer.optional(),
  subscription: text.optional(),
});
const updateParams = z.strictObject({ ...fields, invoicing_rules: notModelled });
const listParams = z.strictObject({
  ...pageParams,
  created: timeRange.optional(),
  customer: text.optional(),
  customer_account: notModelled,
  invoice: text.optional(),
  pending: flag.optional(),
});
type CreateParams = z.output<typeof createParams>;

function findItem(world: World, id: string): InvoiceItem {
  const item = world.state.invoiceItems.get(id);
  if (item === undefined) throw missing('invoiceitem', id);
  return item;
}

/** An ad-hoc amount gets a price of its own (stripe.md B5). */
function priceFor(world: World, params: CreateParams): Price {
  const named = params.pricing?.price ?? params.price;
  if (named !== undefined) {
    const price = findPrice(world, named, params.price === undefined ? 'pricing[price]' : 'price');
    if (price.recurring !== null)
      throw invalid(
        'The price specified is set to `type=recurring` but this field only accepts prices with `type=one_time`.',
        { param: 'pricing[price]' },
      );
    return price;
  }
  if (params.price_data !== undefined)
    return createPrice(world, params.price_data.product, { ...params.price_data, recurring: undefined });
  if (params.amount === undefined && params.unit_amount === undefined)
    throw invalid('You must pass one of `amount`, `pricing` or `price_data`.', {
      code: 'parameter_missing',
      param: 'amount',
    });
  const product = createProduct(world, params.description ?? 'Invoice item');
  // A made price cannot be sold again.
  product.active = false;
  return Object.assign(
    createPrice(world, product.id, {
      currency: (params.currency ?? 'usd').toLowerCase(),
      unit_amount: Math.abs(params.unit_amount ?? params.amount ?? 0),
    }),
    { active: false },
  );
}

function draftOf(world: World, id: string | undefined): Invoice | null {
  if (id === undefined) return null;
  const invoice = world.state.invoices.get(id);
  if (invoice === undefined) throw missing('invoice', id, 'invoice');
  if (invoice.status !== 'draft') throw invalid('Invoice is not editable', { code: 'invoice_not_editable' });
  return invoice;
}

function create(world: World, params: CreateParams): InvoiceItem {
  const customer = findCustomer(world, params.customer, 'customer');
  const invoice = draftOf(world, params.invoice);
  const price = priceFor(world, params);
  const quantity = params.quantity ?? 1;
  const now = world.now();
  const subscription =
    params.subscription === undefined
      ? null
      : findSubscription(world, params.subscription, 'subscription').id;
  const item = buildInvoiceItem(world, {
    customer: customer.id,
    currency: price.currency,
    amount: params.amount ?? Math.round(Number(price.unit_amount_decimal ?? 0) * quantity),
    description: params.description ?? world.state.products.get(price.product)?.name ?? null,
    discountable: params.discountable ?? (params.amount ?? 0) >= 0,
    discounts: redeemAll(world, redemptionsOf(world, params.discounts, customer.id), {
      customer: customer.id,
      subscription,
    }),
    metadata: mergeMetadata(null, params.metadata),
    period: params.period ?? { start: now, end: now },
    price: price.id,
    product: price.product,
    unitAmount: price.unit_amount_decimal,
    quantity,
    parent:
      subscription === null ? null : { subscription_details: { subscription }, type: 'subscription_details' },
    invoice: invoice?.id ?? null,
    proration: false,
  });
  storeInvoiceItem(world, item);
  if (invoice !== null)
    recompute(world, invoice, [
      ...(world.state.invoiceLines.get(invoice.id) ?? []),
      lineOfItem(invoice.id, item),
    ]);
  return item;
}

/** The draft it is on shows the change at once. */
function followOnDraft(world: World, item: InvoiceItem, gone: boolean): void {
  const invoice = world.state.invoices.get(item.invoice ?? '');
  if (invoice === undefined) return;
  if (invoice.status !== 'draft') throw invalid('Invoice is not editable', { code: 'invoice_not_editable' });
  const lines = world.state.invoiceLines.get(invoice.id) ?? [];
  const isOf = (parent: (typeof lines)[number]['parent']): boolean =>
    (parent?.invoice_item_details?.invoice_item ?? parent?.subscription_item_details?.invoice_item) ===
    item.id;
  recompute(
    world,
    invoice,
    lines.flatMap((line) => {
      if (!isOf(line.parent)) return [line];
      return gone ? [] : [{ ...lineOfItem(invoice.id, item), id: line.id }];
    }),
  );
}

function update(world: World, item: InvoiceItem, params: z.output<typeof updateParams>): InvoiceItem {
  const price =
    params.pricing?.price === undefined ? null : findPrice(world, params.pricing.price, 'pricing[price]');
  if (price !== null)
    item.pricing = {
      price_details: { price: price.id, product: price.product },
      type: 'price_details',
      unit_amount_decimal: price.unit_amount_decimal,
    };
  item.quantity = params.quantity ?? item.quantity;
  item.quantity_decimal = String(item.quantity);
  const unit = Number(item.pricing?.unit_amount_decimal ?? 0);
  const repriced = params.quantity !== undefined || price !== null;
  item.amount = params.amount ?? (repriced ? Math.round(unit * item.quantity) : item.amount);
  item.net_amount = item.amount;
  if (params.description !== undefined) item.description = params.description;
  item.discountable = params.discountable ?? item.discountable;
  item.period = params.period ?? item.period;
  item.metadata = mergeMetadata(item.metadata, params.metadata);
  if (params.discounts !== undefined)
    item.discounts = redeemAll(world, redemptionsOf(world, params.discounts, item.customer), {
      customer: item.customer,
      subscription: null,
    });
  followOnDraft(world, item, false);
  return item;
}

export const invoiceItemRoutes: Route[] = [
  route('POST', '/invoiceitems', createParams, ({ world, params }) => create(world, params)),
  route('GET', '/invoiceitems', listParams, ({ world, params, path }) =>
    page(
      world.state.invoiceItems.values(),
      params,
      path,
      (item) =>
        inRange(item.date, params.created) &&
        (params.customer === undefined || item.customer === params.customer) &&
        (params.pending === undefined || (item.invoice === null) === params.pending) &&
        (params.invoice === undefined || item.invoice === params.invoice),
    ),
  ),
  route('GET', '/invoiceitems/:id', noParams, ({ world, id }) => findItem(world, id)),
  route('POST', '/invoiceitems/:id', updateParams, ({ world, params, id }) =>
    update(world, findItem(world, id), params),
  ),
  route('DELETE', '/invoiceitems/:id', noParams, ({ world, id }) => {
    const item = findItem(world, id);
    followOnDraft(world, item, true);
    world.state.invoiceItems.delete(id);
    world.emit('invoiceitem.deleted', item);
    return { id, object: 'invoiceitem', deleted: true };
  }),
];
