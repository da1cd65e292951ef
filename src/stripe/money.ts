/**
 * How much of a payment went back, read from Stripe as cumulative facts and never from what an event says: payment
 * refunds, disputes whose money is out, credit notes that were no refund (stripe.md B7).
 */
import type Stripe from 'stripe';
import type { PaymentMoney } from '../domain/paid-lines.ts';
import { parseCreditNote, parseDispute, parseInvoicePayment, parseRefund } from './shapes.ts';

const PAGE = 100;

/** Refunds that have left or will (https://docs.stripe.com/api/refunds/object#refund_object-status). */
const REFUNDED = new Set(['succeeded', 'pending']);

/**
 * Disputes whose money is not out: won, prevented, and inquiries. Money leaves when a dispute opens and not when it is
 * lost (https://docs.stripe.com/disputes/how-disputes-work); a status that is new here counts as out, so that it grants nothing.
 */
const NOT_OUT = new Set([
  'won',
  'prevented',
  'warning_needs_response',
  'warning_under_review',
  'warning_closed',
]);

/** What a payment is made of: a payment intent, or a bare charge. */
export type Source = { payment_intent: string } | { charge: string };

export async function returnedOf(
  stripe: Stripe,
  sources: readonly Source[],
): Promise<Pick<PaymentMoney, 'refundedMinor' | 'disputedMinor'>> {
  let refundedMinor = 0;
  let disputedMinor = 0;
  for (const source of sources) {
    for await (const one of stripe.refunds.list({ ...source, limit: PAGE })) {
      const refund = parseRefund(one);
      if (REFUNDED.has(refund.status ?? '')) refundedMinor += refund.amount;
    }
    for await (const one of stripe.disputes.list({ ...source, limit: PAGE })) {
      const dispute = parseDispute(one);
      if (!NOT_OUT.has(dispute.status)) disputedMinor += dispute.amount;
    }
  }
  return { refundedMinor, disputedMinor };
}

/**
 * @param amountPaidMinor what the invoice says, which includes what was paid outside Stripe
 * @param payments of the invoice, expanded; undefined where none came along
 */
export async function invoiceMoney(
  stripe: Stripe,
  invoiceId: string,
  amountPaidMinor: number,
  payments: readonly unknown[],
): Promise<PaymentMoney> {
  const paid = payments.map(parseInvoicePayment).filter(({ status }) => status === 'paid');
  const sources = paid.flatMap<Source>(({ payment }) => {
    if (payment.payment_intent) return [{ payment_intent: payment.payment_intent }];
    return payment.charge ? [{ charge: payment.charge }] : [];
  });
  const byPayments = paid.reduce((sum, { amount_paid }) => sum + (amount_paid ?? 0), 0);
  const { refundedMinor, disputedMinor } = await returnedOf(stripe, sources);
  const paidMinor = Math.max(byPayments, amountPaidMinor);
  // Nothing paid, nothing to go back: a trial, a coupon of 100 %, a balance.
  const creditedMinor = paidMinor === 0 ? 0 : await creditedOf(stripe, invoiceId);
  return { paidMinor, refundedMinor, disputedMinor, creditedMinor };
}

/** Credit to the customer's balance or given outside Stripe; what a credit note refunded is among the refunds. */
async function creditedOf(stripe: Stripe, invoiceId: string): Promise<number> {
  let creditedMinor = 0;
  for await (const one of stripe.creditNotes.list({ invoice: invoiceId, limit: PAGE })) {
    const note = parseCreditNote(one);
    if (note.status !== 'void') creditedMinor += Math.max(0, note.post_payment_amount - note.refunds);
  }
  return creditedMinor;
}
