import { invalid } from '../errors.ts';
import type { Invoice, InvoicePayment, PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';
import { cancelIntent } from './intents.ts';
import { subscriptionOf } from './invoice-object.ts';

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

export function closePayment(world: World, found: { payment: InvoicePayment; intent: PaymentIntent }): void {
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

/** A sent invoice whose day has come unpaid (https://docs.stripe.com/billing/collection-method). */
export function invoiceOverdue(world: World, invoice: Invoice): void {
  if (invoice.status !== 'open' || invoice.due_date === null || invoice.due_date > world.now()) return;
  world.emit('invoice.overdue', invoice);
  const subscription = subscriptionOf(world, invoice);
  if (subscription?.status === 'active')
    world.update('customer.subscription.updated', subscription, { status: 'past_due' });
}
