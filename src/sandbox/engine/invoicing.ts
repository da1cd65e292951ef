import { HOUR } from '../calendar.ts';
import { invalid, StripeError } from '../errors.ts';
import { newId, randomText } from '../ids.ts';
import { planFinalization } from '../invoice-wait.ts';
import type { PaymentOutcome } from '../state.ts';
import type { Invoice, InvoicePayment, PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';
import { moveBalance } from './balance.ts';
import { planNextAttempt } from './dunning.ts';
import { createIntent } from './intents.ts';
import { closePayment, defaultPayment, markUncollectible, voidInvoice } from './invoice-closing.ts';
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

/** A draft handed over later finalizes an hour after that. */
export function advanceLater(world: World, invoice: Invoice): void {
  invoice.automatically_finalizes_at = world.now() + HOUR;
  world.scheduler.plan('invoice_finalizes', invoice.automatically_finalizes_at, invoice.id);
}

export function announceDraft(world: World, invoice: Invoice): void {
  const event = world.emit('invoice.created', invoice);
  if (invoice.auto_advance === true) planFinalization(world, invoice, event);
}

/** Smaller amounts cannot be charged and go to the customer's balance instead (docs: minimum charge amount). */
const MINIMUM_CHARGE = 50;
const MAXIMUM_CHARGE = 99_999_999;

interface Settlement {
  due: number;
  ending: number;
  tooSmall: number;
}

/** What is left to pay once the customer's balance is used, and what the balance is then. */
function settle(total: number, balance: number): Settlement {
  const owed = total + balance;
  if (total <= 0) return { due: 0, ending: owed, tooSmall: 0 };
  if (owed > 0 && owed < MINIMUM_CHARGE) return { due: 0, ending: owed, tooSmall: owed };
  return { due: Math.max(0, owed), ending: Math.min(0, owed), tooSmall: 0 };
}

function checkFinalizable(world: World, invoice: Invoice): void {
  if (invoice.status !== 'draft')
    throw invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.", {
      code: 'invoice_not_editable',
    });
  if (invoice.total <= MAXIMUM_CHARGE) return;
  const message = 'Amount must be no more than $999,999.99';
  invoice.last_finalization_error = { code: 'amount_too_large', message, type: 'invalid_request_error' };
  world.emit('invoice.finalization_failed', invoice);
  throw invalid(message, { code: 'amount_too_large' });
}

/** draft → open: number, customer balance, and the payment that is to pay it. */
export function finalizeInvoice(world: World, invoice: Invoice): void {
  checkFinalizable(world, invoice);
  const now = world.now();
  const customer = world.state.customers.get(invoice.customer ?? '');
  const { due, ending, tooSmall } = settle(invoice.total, customer?.balance ?? 0);
  const sequence = customer?.next_invoice_sequence ?? 1;
  const hosted = `${world.baseUrl()}/invoices/${invoice.id}`;
  const sent = invoice.collection_method === 'send_invoice';
  Object.assign(invoice, {
    amount_due: due,
    amount_remaining: due,
    auto_advance: invoice.auto_advance === true && due > 0,
    automatically_finalizes_at: null,
    due_date: invoice.due_date === null ? null : invoice.due_date + now - invoice.created,
    effective_at: invoice.effective_at ?? now,
    ending_balance: ending,
    starting_balance: customer?.balance ?? 0,
    hosted_invoice_url: hosted,
    invoice_pdf: `${hosted}/pdf`,
    next_payment_attempt: sent || due === 0 ? null : invoice.next_payment_attempt,
    number:
      invoice.number ??
      `${customer?.invoice_prefix ?? randomText(8).toUpperCase()}-${String(sequence).padStart(4, '0')}`,
    status: 'open',
    status_transitions: { ...invoice.status_transitions, finalized_at: now },
    webhooks_delivered_at: invoice.webhooks_delivered_at ?? now,
  } satisfies Partial<Invoice>);
  if (customer !== undefined) {
    customer.next_invoice_sequence = sequence + 1;
    customer.currency = customer.currency ?? invoice.currency;
    moveBalance(world, customer, {
      amount: ending - customer.balance,
      type: tooSmall > 0 ? 'invoice_too_small' : 'applied_to_invoice',
      currency: invoice.currency,
      invoice: invoice.id,
    });
  }
  if (due > 0) createInvoicePayment(world, invoice);
  world.emit('invoice.finalized', invoice);
  if (due === 0) markPaid(world, invoice);
  else if (invoice.due_date !== null) world.scheduler.plan('invoice_retries', invoice.due_date, invoice.id);
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
    invoice.amount_paid += intent.amount_received;
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
  delete invoice.status_details;
  world.emit('invoice.paid', invoice);
  world.emit('invoice.payment_succeeded', invoice);
  setDelinquent(world, invoice, false);
  subscriptionPaid(world, invoice);
}

/** Whether the customer's latest invoice could be collected (Customer.delinquent). */
function setDelinquent(world: World, invoice: Invoice, delinquent: boolean): void {
  const customer = world.state.customers.get(invoice.customer ?? '');
  if (customer === undefined || invoice.billing_reason === 'subscription_create') return;
  world.update('customer.updated', customer, { delinquent });
}

function markUnpaid(world: World, invoice: Invoice, outcome: PaymentOutcome | 'no_method'): void {
  planNextAttempt(world, invoice);
  world.emit('invoice.payment_failed', invoice);
  setDelinquent(world, invoice, true);
  if (outcome === 'requires_action') world.emit('invoice.payment_action_required', invoice);
  subscriptionUnpaid(world, invoice);
}

/** What falls due an hour after a draft: finalize and collect. */
export function finalizeAndCollect(world: World, invoice: Invoice): void {
  try {
    finalizeInvoice(world, invoice);
  } catch (error) {
    // It has been announced as invoice.finalization_failed; the draft stays for its owner to mend.
    if (error instanceof StripeError) return;
    throw error;
  }
  if (invoice.status !== 'open') return;
  if (invoice.collection_method === 'send_invoice') {
    world.emit('invoice.sent', invoice);
    return;
  }
  // A paused collection still makes invoices, but nobody is to pay them.
  const pause = subscriptionOf(world, invoice)?.pause_collection?.behavior;
  if (pause === 'void') voidInvoice(world, invoice);
  else if (pause === 'mark_uncollectible') markUncollectible(world, invoice, 'subscription_paused');
  else attemptInvoice(world, invoice, { onSession: false });
}
