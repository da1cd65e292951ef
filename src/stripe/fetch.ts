/** Reads from Stripe, complete and parsed. No transaction is open while these run. */
import type Stripe from 'stripe';
import type { InvoiceLine, PaidInvoice } from '../domain/invoice-lines.ts';
import type { PaymentMoney } from '../domain/paid-lines.ts';
import { invoiceMoney, returnedOf } from './money.ts';
import { fetchPrice, linePrice } from './prices.ts';
import {
  type LineShape,
  parseIntent,
  parseInvoice,
  parseInvoicePayment,
  parseLine,
  parseSession,
  parseSessionLine,
  parseSubscription,
  type SessionLineShape,
  type SessionShape,
  type SubscriptionShape,
} from './shapes.ts';

const PAGE = 100;
/** Newest first: one page tells that nothing is new. */
const NEWEST = 20;

export async function fetchSubscription(stripe: Stripe, id: string): Promise<SubscriptionShape> {
  return parseSubscription(await stripe.subscriptions.retrieve(id));
}

export interface FetchedInvoice extends PaidInvoice {
  customerId: string | null;
  subscriptionId: string | null;
  isPaid: boolean;
}

export const NO_MONEY: PaymentMoney = { paidMinor: 0, refundedMinor: 0, disputedMinor: 0, creditedMinor: 0 };

/** With all its lines (a payload and a plain retrieve carry ten) and what became of its money; neither of an unpaid one. */
export async function fetchInvoice(stripe: Stripe, id: string): Promise<FetchedInvoice> {
  const found = await stripe.invoices.retrieve(id, { expand: ['payments'] });
  const invoice = parseInvoice(found);
  const isPaid = invoice.status === 'paid';
  const lines: InvoiceLine[] = [];
  if (isPaid) {
    for await (const line of stripe.invoices.listLineItems(id, { limit: PAGE })) {
      lines.push(await invoiceLine(stripe, parseLine(line)));
    }
  }
  return {
    id: invoice.id,
    customerId: invoice.customer,
    subscriptionId: invoice.parent,
    billingReason: invoice.billing_reason,
    isRevision: invoice.from_invoice?.action === 'revision',
    isPaid,
    paidAt: invoice.status_transitions.paid_at ?? invoice.created,
    money: isPaid
      ? await invoiceMoney(stripe, id, invoice.amount_paid, found.payments?.data ?? [])
      : NO_MONEY,
    lines,
  };
}

/** Ids of a subscription's paid invoices, newest first, page by page. */
export async function* paidInvoicePages(stripe: Stripe, subscription: string): AsyncGenerator<string[]> {
  let after: string | undefined;
  for (;;) {
    const page = await stripe.invoices.list({
      subscription,
      status: 'paid',
      limit: NEWEST,
      ...(after === undefined ? {} : { starting_after: after }),
    });
    yield page.data.map(({ id }) => id ?? '').filter((id) => id !== '');
    after = page.data.at(-1)?.id;
    if (!page.has_more || after === undefined) return;
  }
}

export async function invoiceLine(stripe: Stripe, line: LineShape): Promise<InvoiceLine> {
  const item = line.parent?.subscription_item_details;
  const manual = line.parent?.invoice_item_details;
  return {
    id: line.id,
    amount: line.amount,
    subtotal: line.subtotal,
    discount: line.discount_amounts,
    currency: line.currency,
    quantity: line.quantity ?? 1,
    period: line.period,
    subscriptionId: item?.subscription ?? manual?.subscription ?? null,
    subscriptionItemId: item?.subscription_item ?? null,
    isProration: item?.proration ?? manual?.proration ?? false,
    price: line.pricing === null ? null : await fetchPrice(stripe, line.pricing),
  };
}

export interface FetchedSession extends SessionShape {
  lines: (Omit<SessionLineShape, 'price'> & { lookupKey: string | null })[];
  paidAt: Date;
  money: PaymentMoney;
}

/** Line items and money only where they are granted from: a completed payment. */
export async function fetchSession(stripe: Stripe, id: string): Promise<FetchedSession> {
  const session = parseSession(await stripe.checkout.sessions.retrieve(id));
  const isBought = session.mode === 'payment' && session.status === 'complete';
  if (!isBought) return { ...session, lines: [], paidAt: session.created, money: NO_MONEY };
  const lines: FetchedSession['lines'] = [];
  for await (const item of stripe.checkout.sessions.listLineItems(id, { limit: PAGE })) {
    const { price, ...line } = parseSessionLine(item);
    lines.push({ ...line, lookupKey: price === null ? null : linePrice(price).lookupKey });
  }
  return { ...session, lines, ...(await sessionMoney(stripe, session)) };
}

async function sessionMoney(
  stripe: Stripe,
  { payment_intent: intentId, created }: SessionShape,
): Promise<{ paidAt: Date; money: PaymentMoney }> {
  if (intentId === null) return { paidAt: created, money: NO_MONEY };
  const intent = parseIntent(await stripe.paymentIntents.retrieve(intentId, { expand: ['latest_charge'] }));
  const charge = intent.latest_charge;
  return {
    // A delayed method is paid days after the session.
    paidAt: charge === null || typeof charge === 'string' ? created : charge.created,
    money: {
      paidMinor: intent.amount_received,
      ...(await returnedOf(stripe, [{ payment_intent: intentId }])),
      creditedMinor: 0,
    },
  };
}

/**
 * What a payment intent paid: the Checkout session of a pack, or invoices. Charges do not name either (stripe.md A2).
 * Sessions first: one that also makes an invoice (`invoice_creation`) has given its credits as a session.
 */
export async function paymentsOf(
  stripe: Stripe,
  paymentIntentId: string,
): Promise<{ invoices: string[]; sessions: string[] }> {
  const { data } = await stripe.checkout.sessions.list({ payment_intent: paymentIntentId, limit: PAGE });
  if (data.length > 0) return { invoices: [], sessions: data.map(({ id }) => id) };
  const invoices = new Set<string>();
  const payment = { type: 'payment_intent', payment_intent: paymentIntentId } as const;
  for await (const one of stripe.invoicePayments.list({ payment, limit: PAGE })) {
    invoices.add(parseInvoicePayment(one).invoice);
  }
  return { invoices: [...invoices], sessions: [] };
}
