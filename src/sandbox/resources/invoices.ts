import { z } from 'zod';
import {
  attemptInvoice,
  finalizeInvoice,
  markPaid,
  markUncollectible,
  openDraft,
  voidInvoice,
} from '../engine/invoicing.ts';
import { cardError } from '../engine/payments.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  flag,
  inRange,
  mergeMetadata,
  metadata,
  noParams,
  pageParams,
  positive,
  text,
  timeRange,
  unset,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Invoice } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customers.ts';
import { takePendingItems } from './invoice-items.ts';
import { previewInvoice, previewParams } from './invoice-preview.ts';
import { findPaymentMethod } from './payment-methods.ts';

const createParams = z.strictObject({
  auto_advance: flag.optional(),
  collection_method: z.enum(['charge_automatically', 'send_invoice']).optional(),
  currency: text.optional(),
  customer: text,
  days_until_due: positive.optional(),
  default_payment_method: text.optional(),
  description: text.optional(),
  metadata: metadata.optional(),
  pending_invoice_items_behavior: z.enum(['exclude', 'include']).optional(),
});
const updateParams = z.strictObject({
  auto_advance: flag.optional(),
  default_payment_method: z.union([unset, text]).optional(),
  description: z.union([unset, text]).optional(),
  metadata: metadata.optional(),
});
const listParams = z.strictObject({
  ...pageParams,
  collection_method: text.optional(),
  created: timeRange.optional(),
  customer: text.optional(),
  due_date: timeRange.optional(),
  status: z.enum(['draft', 'open', 'paid', 'uncollectible', 'void']).optional(),
  subscription: text.optional(),
});
const payParams = z.strictObject({
  forgive: flag.optional(),
  off_session: flag.optional(),
  paid_out_of_band: flag.optional(),
  payment_method: text.optional(),
});
const finalizeParams = z.strictObject({ auto_advance: flag.optional() });

export function findInvoice(world: World, id: string, param?: string): Invoice {
  const invoice = world.state.invoices.get(id);
  if (invoice === undefined) throw missing('invoice', id, param);
  return invoice;
}

function create(world: World, params: z.output<typeof createParams>): Invoice {
  const customer = findCustomer(world, params.customer, 'customer');
  const currency = params.currency ?? customer.currency ?? 'usd';
  const include = params.pending_invoice_items_behavior === 'include';
  const pending = include ? takePendingItems(world, customer.id) : [];
  const invoice = openDraft(world, {
    customer,
    subscription: null,
    reason: 'manual',
    lines: (id) => pending.map((build) => build(id)),
    currency,
    periodStart: world.now(),
    periodEnd: world.now(),
    autoAdvance: params.auto_advance ?? false,
    metadata: mergeMetadata(null, params.metadata),
    description: params.description ?? null,
  });
  if (params.default_payment_method !== undefined)
    invoice.default_payment_method = findPaymentMethod(
      world,
      params.default_payment_method,
      'default_payment_method',
    ).id;
  world.emit('invoice.created', invoice);
  return invoice;
}

/** Paying a draft finalizes it first (stripe.md E1). */
function pay(world: World, invoice: Invoice, params: z.output<typeof payParams>): Invoice {
  if (invoice.status === 'paid') throw invalid('Invoice is already paid');
  if (invoice.status === 'draft') finalizeInvoice(world, invoice);
  if (invoice.status !== 'open' && invoice.status !== 'uncollectible') {
    if (invoice.amount_due === 0) return invoice;
    throw invalid('Invoice is no longer payable');
  }
  if (params.paid_out_of_band === true) {
    markPaid(world, invoice);
    return invoice;
  }
  const { outcome, intent } = attemptInvoice(world, invoice, {
    onSession: params.off_session === false,
    ...(params.payment_method === undefined ? {} : { method: params.payment_method }),
  });
  if (outcome !== 'succeeds') throw cardError(intent, outcome);
  return invoice;
}

const editRoutes: Route[] = [
  route('POST', '/invoices', createParams, ({ world, params }) => create(world, params)),
  route('POST', '/invoices/create_preview', previewParams, ({ world, params }) =>
    previewInvoice(world, params),
  ),
  route('POST', '/invoices/:id', updateParams, ({ world, params, id }) => {
    const invoice = findInvoice(world, id);
    world.update('invoice.updated', invoice, {
      metadata: mergeMetadata(invoice.metadata, params.metadata),
      ...(params.auto_advance === undefined ? {} : { auto_advance: params.auto_advance }),
      ...(params.description === undefined ? {} : { description: params.description }),
      ...(params.default_payment_method === undefined
        ? {}
        : { default_payment_method: params.default_payment_method }),
    });
    return invoice;
  }),
  route('DELETE', '/invoices/:id', noParams, ({ world, id }) => {
    const invoice = findInvoice(world, id);
    if (invoice.status !== 'draft') throw invalid('You can only delete draft invoices.');
    world.state.invoices.delete(id);
    world.emit('invoice.deleted', invoice);
    return { id, object: 'invoice', deleted: true };
  }),
];

const actionRoutes: Route[] = [
  route('POST', '/invoices/:id/finalize', finalizeParams, ({ world, params, id }) => {
    const invoice = findInvoice(world, id);
    if (params.auto_advance !== undefined) invoice.auto_advance = params.auto_advance;
    finalizeInvoice(world, invoice);
    return invoice;
  }),
  route('POST', '/invoices/:id/pay', payParams, ({ world, params, id }) =>
    pay(world, findInvoice(world, id), params),
  ),
  route('POST', '/invoices/:id/void', noParams, ({ world, id }) => {
    const invoice = findInvoice(world, id);
    voidInvoice(world, invoice);
    return invoice;
  }),
  route('POST', '/invoices/:id/mark_uncollectible', noParams, ({ world, id }) => {
    const invoice = findInvoice(world, id);
    markUncollectible(world, invoice, 'user_forgiven');
    return invoice;
  }),
];

const readRoutes: Route[] = [
  route('GET', '/invoices', listParams, ({ world, params, path }) =>
    page(
      world.state.invoices.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        (params.customer === undefined || one.customer === params.customer) &&
        (params.status === undefined || one.status === params.status) &&
        (params.collection_method === undefined || one.collection_method === params.collection_method) &&
        (params.due_date === undefined ||
          (one.due_date !== null && inRange(one.due_date, params.due_date))) &&
        (params.subscription === undefined ||
          one.parent?.subscription_details?.subscription === params.subscription),
    ),
  ),
  route('GET', '/invoices/:id', noParams, ({ world, id }) => findInvoice(world, id)),
  route('GET', '/invoices/:id/lines', z.strictObject(pageParams), ({ world, params, id, path }) => {
    // Lines come in the invoice's own order, unlike every other list.
    const lines = [...(world.state.invoiceLines.get(findInvoice(world, id).id) ?? [])].reverse();
    return { ...page(lines, params, path), total_count: lines.length };
  }),
];

export const invoiceRoutes: Route[] = [...editRoutes, ...actionRoutes, ...readRoutes];
