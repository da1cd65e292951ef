/**
 * How much of a payment went back, read from Stripe as cumulative facts and never from what an event says: payment
 * refunds, disputes whose money is out, credit notes that were no refund (stripe.md B7).
 */
import type Stripe from 'stripe';
import type { PaymentMoney } from '../domain/paid-lines.ts';
import {
  type CreditNoteShape,
  type DisputeShape,
  parseCreditNote,
  parseDispute,
  parseInvoicePayment,
  parseRefund,
  type RefundShape,
} from './shapes.ts';

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

/** What of it has gone back to the customer. */
export function refundedBy({ status, amount }: RefundShape): number {
  return REFUNDED.has(status ?? '') ? amount : 0;
}

/** What of it is out of our hands. */
export function disputedBy({ status, amount }: DisputeShape): number {
  return NOT_OUT.has(status) ? 0 : amount;
}

/** What it gave beside refunds. */
export function creditedBy({ status, post_payment_amount: amount, refunds }: CreditNoteShape): number {
  return status === 'void' ? 0 : Math.max(0, amount - refunds);
}

/** What a payment is made of: a payment intent, or a bare charge. */
export type Source = { payment_intent: string } | { charge: string };

export async function returnedOf(
  stripe: Stripe,
  sources: readonly Source[],
): Promise<Pick<PaymentMoney, 'refundedMinor' | 'disputedMinor' | 'returnedAt'>> {
  let refundedMinor = 0;
  let disputedMinor = 0;
  const times: Date[] = [];
  for (const source of sources) {
    for await (const one of stripe.refunds.list({ ...source, limit: PAGE })) {
      const refund = parseRefund(one);
      refundedMinor += refundedBy(refund);
      if (refundedBy(refund) > 0) times.push(refund.created);
    }
    for await (const one of stripe.disputes.list({ ...source, limit: PAGE })) {
      const dispute = parseDispute(one);
      disputedMinor += disputedBy(dispute);
      if (disputedBy(dispute) > 0) times.push(dispute.created);
    }
  }
  const returnedAt = times.reduce<Date | null>((last, at) => (last === null || at > last ? at : last), null);
  return { refundedMinor, disputedMinor, returnedAt };
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
  const { paidMinor, sources } = paidBy(amountPaidMinor, payments);
  const returned = await returnedOf(stripe, sources);
  // Nothing paid, nothing to go back: a trial, a coupon of 100 %, a balance.
  const creditedMinor = paidMinor === 0 ? 0 : await creditedOf(stripe, invoiceId);
  // The time of a credit note is not read: without it, debt waits for the next grant.
  const returnedAt = creditedMinor === 0 ? (returned.returnedAt ?? null) : null;
  return { paidMinor, ...returned, creditedMinor, returnedAt };
}

/** How much an invoice was paid, and by what; the parameters are those of `invoiceMoney`. */
export function paidBy(
  amountPaidMinor: number,
  payments: readonly unknown[],
): { paidMinor: number; sources: Source[] } {
  const paid = payments.map(parseInvoicePayment).filter(({ status }) => status === 'paid');
  const sources = paid.flatMap<Source>(({ payment }) => {
    if (payment.payment_intent) return [{ payment_intent: payment.payment_intent }];
    return payment.charge ? [{ charge: payment.charge }] : [];
  });
  const byPayments = paid.reduce((sum, { amount_paid }) => sum + (amount_paid ?? 0), 0);
  return { paidMinor: Math.max(byPayments, amountPaidMinor), sources };
}

/** Credit to the customer's balance or given outside Stripe; what a credit note refunded is among the refunds. */
export async function creditedOf(stripe: Stripe, invoiceId: string): Promise<number> {
  let creditedMinor = 0;
  for await (const one of stripe.creditNotes.list({ invoice: invoiceId, limit: PAGE })) {
    creditedMinor += creditedBy(parseCreditNote(one));
  }
  return creditedMinor;
}
