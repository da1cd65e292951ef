import type { Charge, Invoice } from '../wire.ts';
import type { World } from '../world.ts';
import { closePayment, defaultPayment } from './invoice-closing.ts';
import { markPaid } from './invoicing.ts';

/** The charges that paid an invoice. */
export function paidCharges(world: World, invoice: Invoice): Charge[] {
  return [...world.state.invoicePayments.values()].flatMap((payment) => {
    if (payment.invoice !== invoice.id || payment.status !== 'paid') return [];
    const intent = world.state.paymentIntents.get(payment.payment.payment_intent ?? '');
    const charge = world.state.charges.get(intent?.latest_charge ?? '');
    return charge === undefined ? [] : [charge];
  });
}

/** The open payment follows what is left to pay; nothing left means paid. */
export function followRemaining(world: World, invoice: Invoice): void {
  if (invoice.status !== 'open') return;
  const found = defaultPayment(world, invoice);
  if (invoice.amount_remaining === 0) {
    if (found !== undefined) closePayment(world, found);
    markPaid(world, invoice);
    return;
  }
  if (found === undefined) return;
  found.payment.amount_requested = invoice.amount_remaining;
  found.intent.amount = invoice.amount_remaining;
}
