import { invalid } from '../errors.ts';
import { newId, randomText } from '../ids.ts';
import { planFinalization } from '../invoice-wait.ts';
import type { PaymentOutcome } from '../state.ts';
import type { Invoice, InvoicePayment, PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';
import { planNextAttempt } from './dunning.ts';
import { cancelIntent, createIntent } from './intents.ts';
import { buildInvoice, type InvoiceRequest, subscriptionOf } from './invoice-object.ts';
import { confirmIntent, payingMethod } from './payments.ts';
import { subscriptionPaid, subscriptionUnpaid } from './subscription-status.ts';

/** A stored and announced draft; with autoAdvance it finalizes by itself an hour later. */
export function openDraft(world: World, request: InvoiceRequest): Invoice {
  const { invoice, lines } = buildInvoice(world, request);
  world.state.invoices.set(invoice.id, invoice);
  world.state.invoiceLines.set(invoice.id, lines);
  return invoice;
}

export function announceDraft(world: World, invoice: Invoice): void {
  const event = world.emit('invoice.created', invoice);
  if (invoice.auto_advance === true) planFinalization(world, invoice, event);
}

/** draft → open: number, customer balance, and the payment that is to pay it. */
export function finalizeInvoice(world: World, invoice: Invoice): void {
  if (invoice.status !== 'draft')
    throw invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.", {
      code: 'invoice_not_editable',
    });
  const now = world.now();
  const customer = world.state.customers.get(invoice.customer ?? '');
  const owed = invoice.total + (customer?.balance ?? 0);
  const due = invoice.total > 0 ? Math.max(0, owed) : 0;
  const sequence = customer?.next_invoice_sequence ?? 1;
  const hosted = `${world.baseUrl()}/invoices/${invoice.id}`;
  Object.assign(invoice, {
    amount_due: due,
    amount_remaining: due,
    auto_advance: invoice.auto_advance === true && due > 0,
    automatically_finalizes_at: null,
    effective_at: now,
    ending_balance: Math.min(0, owed),
    starting_balance: customer?.balance ?? 0,
    hosted_invoice_url: hosted,
    invoice_pdf: `${hosted}/pdf`,
    number: `${customer?.invoice_prefix ?? randomText(8).toUpperCase()}-${String(sequence).padStart(4, '0')}`,
    status: 'open',
    status_transitions: { ...invoice.status_transitions, finalized_at: now },
    webhooks_delivered_at: invoice.webhooks_delivered_at ?? now,
  } satisfies Partial<Invoice>);
  if (customer !== undefined) {
    customer.next_invoice_sequence = sequence + 1;
    customer.currency = customer.currency ?? invoice.currency;
    world.update('customer.updated', customer, { balance: Math.min(0, owed) });
  }
  if (due > 0) createInvoicePayment(world, invoice);
  world.emit('invoice.finalized', invoice);
  if (due === 0) markPaid(world, invoice);
}

function createInvoicePayment(world: World, invoice: Invoice): void {
  const intent = createIntent(world, {
    amount: invoice.amount_due,
    currency: invoice.currency,
    customer: invoice.customer,
    description: describe(invoice),
    setupFutureUsage: invoice.parent === null ? null : 'off_session',
    invoice: invoice.id,
  });
  const payment = {
    id: newId('inpay'),
    object: 'invoice_payment',
    amount_paid: null,
    amount_requested: invoice.amount_due,
    created: world.now(),
    currency: invoice.currency,
    invoice: invoice.id,
    is_default: true,
    livemode: false,
    payment: { payment_intent: intent.id, type: 'payment_intent' },
    status: 'open',
    status_transitions: { canceled_at: null, paid_at: null },
  } satisfies InvoicePayment;
  world.state.invoicePayments.set(payment.id, payment);
}

function describe(invoice: Invoice): string {
  if (invoice.billing_reason === 'subscription_create') return 'Subscription creation';
  if (invoice.billing_reason === 'subscription_cycle') return 'Subscription cycle';
  return invoice.parent === null ? `Payment for Invoice ${invoice.number ?? ''}` : 'Subscription update';
}

export function defaultPayment(
  world: World,
  invoice: Invoice,
): { payment: InvoicePayment; intent: PaymentIntent } | undefined {
  for (const payment of world.state.invoicePayments.values()) {
    const intent = world.state.paymentIntents.get(payment.payment.payment_intent ?? '');
    if (payment.invoice === invoice.id && payment.is_default && intent !== undefined)
      return { payment, intent };
  }
  return undefined;
}

/** The open invoice that an intent is to pay. */
export function invoiceOf(world: World, intent: PaymentIntent): Invoice | undefined {
  for (const payment of world.state.invoicePayments.values())
    if (payment.payment.payment_intent === intent.id && payment.status === 'open')
      return world.state.invoices.get(payment.invoice);
  return undefined;
}

export interface PayRequest {
  method?: string | null;
  onSession: boolean;
  outcome?: PaymentOutcome;
}

/** One attempt to collect an open invoice. */
export function attemptInvoice(
  world: World,
  invoice: Invoice,
  request: PayRequest,
): { outcome: PaymentOutcome | 'no_method'; intent: PaymentIntent | null } {
  const found = defaultPayment(world, invoice);
  if (found === undefined || invoice.amount_remaining === 0) {
    markPaid(world, invoice);
    return { outcome: 'succeeds', intent: null };
  }
  const subscription = subscriptionOf(world, invoice);
  const method =
    request.method ??
    invoice.default_payment_method ??
    payingMethod(world, invoice.customer ?? '', subscription?.default_payment_method ?? null);
  const { intent, payment } = found;
  invoice.attempted = true;
  invoice.attempt_count += 1;
  const outcome = confirmIntent(world, intent, {
    method,
    onSession: request.onSession,
    ...(request.outcome === undefined ? {} : { outcome: request.outcome }),
  });
  if (outcome === 'succeeds') {
    Object.assign(payment, {
      amount_paid: intent.amount_received,
      status: 'paid',
      status_transitions: { canceled_at: null, paid_at: world.now() },
    });
    world.emit('invoice_payment.paid', payment);
    invoice.amount_paid = intent.amount_received;
    markPaid(world, invoice);
  } else markUnpaid(world, invoice, outcome);
  return { outcome, intent };
}

export function markPaid(world: World, invoice: Invoice): void {
  Object.assign(invoice, {
    amount_remaining: 0,
    attempted: true,
    auto_advance: false,
    next_payment_attempt: null,
    status: 'paid',
    status_transitions: { ...invoice.status_transitions, paid_at: world.now() },
  } satisfies Partial<Invoice>);
  const payment = defaultPayment(world, invoice);
  if (payment !== undefined && payment.payment.status === 'open') closePayment(world, payment);
  world.emit('invoice.paid', invoice);
  world.emit('invoice.payment_succeeded', invoice);
  subscriptionPaid(world, invoice);
}

function markUnpaid(world: World, invoice: Invoice, outcome: PaymentOutcome | 'no_method'): void {
  planNextAttempt(world, invoice);
  world.emit('invoice.payment_failed', invoice);
  if (outcome === 'requires_action') world.emit('invoice.payment_action_required', invoice);
  subscriptionUnpaid(world, invoice);
}

function closePayment(world: World, found: { payment: InvoicePayment; intent: PaymentIntent }): void {
  cancelIntent(world, found.intent, 'void_invoice');
  Object.assign(found.payment, {
    status: 'canceled',
    status_transitions: { canceled_at: world.now(), paid_at: null },
  });
}

export function voidInvoice(world: World, invoice: Invoice): void {
  if (invoice.status !== 'open' && invoice.status !== 'uncollectible')
    throw invalid(`You can only pass in open invoices. This invoice isn't open.`);
  const payment = defaultPayment(world, invoice);
  if (payment !== undefined) closePayment(world, payment);
  Object.assign(invoice, {
    auto_advance: false,
    next_payment_attempt: null,
    status: 'void',
    status_transitions: { ...invoice.status_transitions, voided_at: world.now() },
  } satisfies Partial<Invoice>);
  world.emit('invoice.voided', invoice);
}

export function markUncollectible(
  world: World,
  invoice: Invoice,
  reason: 'user_forgiven' | 'subscription_paused',
): void {
  if (invoice.status !== 'open') throw invalid('You can only mark open invoices as uncollectible.');
  Object.assign(invoice, {
    auto_advance: false,
    next_payment_attempt: null,
    status: 'uncollectible',
    status_details: { uncollectible: { reason } },
    status_transitions: { ...invoice.status_transitions, marked_uncollectible_at: world.now() },
  } satisfies Partial<Invoice>);
  world.emit('invoice.marked_uncollectible', invoice);
}

/** What falls due an hour after a draft: finalize and collect. */
export function finalizeAndCollect(world: World, invoice: Invoice): void {
  finalizeInvoice(world, invoice);
  if (invoice.status !== 'open') return;
  // A paused collection still makes invoices, but nobody is to pay them.
  const pause = subscriptionOf(world, invoice)?.pause_collection?.behavior;
  if (pause === 'void') voidInvoice(world, invoice);
  else if (pause === 'mark_uncollectible') markUncollectible(world, invoice, 'subscription_paused');
  else attemptInvoice(world, invoice, { onSession: false });
}
