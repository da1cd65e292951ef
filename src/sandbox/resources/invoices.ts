import { z } from 'zod';
import { DAY } from '../calendar.ts';
import { discountsFor } from '../engine/discounts.ts';
import { markUncollectible, voidInvoice } from '../engine/invoice-closing.ts';
import { lineOfItem, pendingFor, pendingOf, releaseItems } from '../engine/invoice-items.ts';
import { recompute } from '../engine/invoice-object.ts';
import {
  advanceLater,
  announceDraft,
  attemptInvoice,
  finalizeInvoice,
  markPaid,
  openDraft,
} from '../engine/invoicing.ts';
import { cardError } from '../engine/payments.ts';
import { redeemAll } from '../engine/subscription-create.ts';
import { invalid, StripeError } from '../errors.ts';
import { page } from '../http/lists.ts';
import { given, inRange, mergeMetadata, noParams, pageParams } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Invoice } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { findInvoice } from './invoice-find.ts';
import {
  createParams,
  finalizeParams,
  listParams,
  notServed,
  payParams,
  updateParams,
} from './invoice-params.ts';
import { previewInvoice, previewParams } from './invoice-preview.ts';
import { findPaymentMethod } from './payment-methods.ts';
import { redemptionsOf } from './subscription-params.ts';
import { findSubscription } from './subscriptions.ts';

type Fields = Omit<z.output<typeof updateParams>, never>;

function fieldChanges(world: World, invoice: Invoice, params: Fields): Partial<Invoice> {
  const { default_payment_method: method, due_date: due, days_until_due: days } = params;
  return {
    metadata: mergeMetadata(invoice.metadata, params.metadata),
    ...given({
      auto_advance: params.auto_advance,
      custom_fields: params.custom_fields,
      description: params.description,
      effective_at: params.effective_at,
      footer: params.footer,
      number: params.number,
      statement_descriptor: params.statement_descriptor,
      collection_method: params.collection_method,
      default_payment_method:
        method == null ? method : findPaymentMethod(world, method, 'default_payment_method').id,
      due_date: due ?? (days === undefined ? undefined : invoice.created + days * DAY),
    }),
  };
}

function checkDue(method: string, params: Fields): void {
  const dated = params.due_date !== undefined || params.days_until_due !== undefined;
  if (method === 'send_invoice' || !dated) return;
  throw invalid(
    'You can only set `due_date` or `days_until_due` on invoices with `collection_method` set to `send_invoice`.',
    { param: params.due_date === undefined ? 'days_until_due' : 'due_date' },
  );
}

/** With a subscription the invoice bills what waits for it, as its own renewal would. */
function create(world: World, params: z.output<typeof createParams>): Invoice {
  const subscription =
    params.subscription === undefined ? null : findSubscription(world, params.subscription, 'subscription');
  const id = params.customer ?? subscription?.customer;
  if (id === undefined)
    throw invalid('Missing required param: customer.', { code: 'parameter_missing', param: 'customer' });
  const customer = findCustomer(world, id, 'customer');
  const method = params.collection_method ?? 'charge_automatically';
  checkDue(method, params);
  if (method === 'send_invoice' && params.days_until_due === undefined && params.due_date === undefined)
    throw invalid(
      'If invoice has collection_method = send_invoice, you must specify either days_until_due or due_date.',
      { code: 'parameter_missing', param: 'days_until_due' },
    );
  const include = params.pending_invoice_items_behavior === 'include' || subscription !== null;
  const all =
    subscription === null ? pendingOf(world, customer.id) : pendingFor(world, customer.id, subscription.id);
  const pending = include ? all : [];
  if (subscription !== null && pending.length === 0)
    throw invalid('Nothing to invoice for subscription', { code: 'invoice_no_subscription_line_items' });
  const invoice = openDraft(world, {
    customer,
    subscription,
    reason: subscription === null ? 'manual' : 'subscription_update',
    lines: (invoiceId) => pending.map((item) => lineOfItem(invoiceId, item)),
    currency: params.currency ?? pending[0]?.currency ?? customer.currency ?? 'usd',
    periodStart: world.now(),
    periodEnd: world.now(),
    autoAdvance: params.auto_advance ?? false,
    collectionMethod: method,
    discounts:
      params.discounts === undefined
        ? discountsFor(world, customer, subscription)
        : redeemAll(world, redemptionsOf(world, params.discounts, customer.id), {
            customer: customer.id,
            subscription: null,
          }),
  });
  for (const item of pending) item.invoice = invoice.id;
  Object.assign(invoice, fieldChanges(world, invoice, params));
  announceDraft(world, invoice);
  return invoice;
}

function update(world: World, invoice: Invoice, params: Fields): Invoice {
  const locked = [
    'collection_method',
    'discounts',
    'due_date',
    'days_until_due',
    'effective_at',
    'number',
  ] as const;
  const [name] = locked.filter((key) => params[key] !== undefined);
  if (invoice.status !== 'draft' && name !== undefined)
    throw invalid(`Finalized invoices can't be updated in this way: ${name}`, {
      code: 'invoice_not_editable',
      param: name,
    });
  checkDue(params.collection_method ?? invoice.collection_method, params);
  const before = structuredClone(invoice);
  Object.assign(invoice, fieldChanges(world, invoice, params));
  if (params.discounts !== undefined) {
    invoice.discounts = redeemAll(world, redemptionsOf(world, params.discounts, invoice.customer), {
      customer: invoice.customer,
      subscription: null,
    });
    recompute(world, invoice, world.state.invoiceLines.get(invoice.id) ?? []);
  }
  const after = structuredClone(invoice);
  Object.assign(invoice, before);
  world.update('invoice.updated', invoice, after);
  if (invoice.status === 'draft' && params.auto_advance === true && !before.auto_advance)
    advanceLater(world, invoice);
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
    invoice.amount_paid_off_stripe = invoice.amount_remaining;
    markPaid(world, invoice);
    return invoice;
  }
  const method = params.payment_method;
  const { outcome, intent } = attemptInvoice(world, invoice, {
    onSession: params.off_session !== true,
    ...(method === undefined ? {} : { method: findPaymentMethod(world, method, 'payment_method').id }),
  });
  if (outcome !== 'succeeds') throw cardError(intent, outcome);
  return invoice;
}

const editRoutes: Route[] = [
  route('POST', '/invoices', createParams, ({ world, params }) => create(world, params)),
  route('POST', '/invoices/create_preview', previewParams, ({ world, params }) =>
    previewInvoice(world, params),
  ),
  route('POST', '/invoices/:id', updateParams, ({ world, params, id }) =>
    update(world, findInvoice(world, id), params),
  ),
  route('DELETE', '/invoices/:id', noParams, ({ world, id }) => {
    const invoice = findInvoice(world, id);
    if (invoice.status !== 'draft') throw invalid('You can only delete draft invoices.');
    if (invoice.parent !== null)
      throw invalid('You can only delete draft invoices that were not created by a subscription.');
    releaseItems(world, id);
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
  route('POST', '/invoices/:id/send', noParams, ({ world, id }) => {
    const invoice = findInvoice(world, id);
    if (invoice.status === 'draft') finalizeInvoice(world, invoice);
    if (invoice.status !== 'open') throw invalid('You can only send open invoices.');
    world.emit('invoice.sent', invoice);
    return invoice;
  }),
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
  route('GET', '/invoices/upcoming', notServed, () => {
    throw new StripeError(
      404,
      'invalid_request_error',
      'The upcoming invoice API was removed. Use POST /v1/invoices/create_preview instead.',
    );
  }),
  route('GET', '/invoices/:id', noParams, ({ world, id }) => findInvoice(world, id)),
  route('GET', '/invoices/:id/lines', z.strictObject(pageParams), ({ world, params, id, path }) => {
    // Lines come in the invoice's own order, unlike every other list.
    const lines = [...(world.state.invoiceLines.get(findInvoice(world, id).id) ?? [])].reverse();
    return { ...page(lines, params, path), total_count: lines.length };
  }),
];

export const invoiceRoutes: Route[] = [...editRoutes, ...actionRoutes, ...readRoutes];
