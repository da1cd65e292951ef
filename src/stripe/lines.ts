/** Invoices and sessions as the paid lines that the ledger knows. */
import type { Context } from '../context.ts';
import { classifyLine, isKnownBillingReason, UNKNOWN_PRICE } from '../domain/invoice-lines.ts';
import type { PaidLine } from '../domain/paid-lines.ts';
import { packOfPrice } from '../domain/plans.ts';
import type { SubscriptionState } from '../domain/subscription.ts';
import type { FetchedInvoice, FetchedSession } from './fetch.ts';
import { keptLookupKey } from './snapshot.ts';

/** Every line of a paid invoice, those that give nothing included: their money is part of the books. */
export function linesOfInvoice(
  { catalogue, log }: Pick<Context, 'catalogue' | 'log'>,
  invoice: FetchedInvoice,
  subscription: SubscriptionState,
): PaidLine[] {
  if (!invoice.isPaid) return [];
  const subject = { invoiceId: invoice.id, subscriptionId: subscription.id };
  if (!isKnownBillingReason(invoice.billingReason)) {
    const text = 'A paid invoice has a billing reason that gives no credits here';
    log.error({ alert: 'unknown_billing_reason', ...subject, reason: invoice.billingReason }, text);
  }
  return invoice.lines.map((line) => {
    const price = line.price && {
      ...line.price,
      lookupKey: line.price.lookupKey ?? keptLookupKey(subscription, line.price.id),
    };
    const meaning = classifyLine(catalogue, invoice, { ...line, price }, subscription.trialEnd);
    if (meaning.note === UNKNOWN_PRICE) {
      const text = 'A paid line has a price of no catalogue and gives no credits';
      log.error({ alert: 'unknown_price_line', ...subject, lineId: line.id, priceId: price?.id }, text);
    }
    return {
      key: `inv:${invoice.id}:${line.id}`,
      ...meaning,
      paymentId: invoice.id,
      lineId: line.id,
      subscriptionId: line.subscriptionId,
      itemId: line.subscriptionItemId ?? subscription.itemId,
      interval: price?.interval ?? null,
      quantity: line.quantity,
      amountMinor: line.amount - line.discount,
      currency: line.currency,
      start: line.period.start,
      end: line.period.end,
      paidAt: invoice.paidAt,
      money: invoice.money,
    };
  });
}

/** Of a session (https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-payment_status). */
const IS_PAID: Record<string, boolean | undefined> = { paid: true, no_payment_required: true, unpaid: false };

/**
 * Packs of a payment-mode session. `unpaid` is a delayed method that has not settled yet
 * (https://docs.stripe.com/payments/checkout/fulfill-orders).
 */
export function linesOfSession(
  { catalogue, log }: Pick<Context, 'catalogue' | 'log'>,
  session: FetchedSession,
): PaidLine[] {
  if (session.mode !== 'payment' || session.status !== 'complete') return [];
  const isPaid = IS_PAID[session.payment_status];
  if (isPaid === undefined) {
    const text = 'A payment status of Stripe that gives nothing here';
    const subject = { sessionId: session.id, paymentStatus: session.payment_status };
    log.error({ alert: 'unknown_payment_status', ...subject }, text);
  }
  if (isPaid !== true) return [];
  return session.lines.map((line) => {
    const pack = packOfPrice(catalogue, line.lookupKey)?.pack ?? null;
    if (pack === null) {
      const text = 'A session was paid for something that is no pack of the catalogue';
      log.error({ alert: 'unknown_price_line', sessionId: session.id, lineId: line.id }, text);
    }
    return {
      key: `pack:${session.id}:${line.id}`,
      kind: pack === null ? 'none' : 'pack',
      offer: pack,
      note: pack === null ? UNKNOWN_PRICE : null,
      paymentId: session.id,
      lineId: line.id,
      subscriptionId: null,
      itemId: null,
      interval: null,
      quantity: line.quantity ?? 1,
      amountMinor: line.amount_total,
      currency: line.currency,
      start: session.paidAt,
      end: session.paidAt,
      paidAt: session.paidAt,
      money: session.money,
    };
  });
}
