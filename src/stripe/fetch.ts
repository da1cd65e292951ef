/** Reads from Stripe, complete and parsed. No transaction is open while these run. */
import type Stripe from 'stripe';
import type { InvoiceLine, PaidInvoice } from '../domain/invoice-lines.ts';
import { fetchPrice, linePrice } from './prices.ts';
import {
  type LineShape,
  parseInvoice,
  parseLine,
  parseSession,
  parseSessionLine,
  parseSubscription,
  type SessionLineShape,
  type SessionShape,
  type SubscriptionShape,
} from './shapes.ts';

const PAGE = 100;

export async function fetchSubscription(stripe: Stripe, id: string): Promise<SubscriptionShape> {
  return parseSubscription(await stripe.subscriptions.retrieve(id));
}

export interface FetchedInvoice extends PaidInvoice {
  customerId: string | null;
  subscriptionId: string | null;
  isPaid: boolean;
}

/** With all its lines: a payload and a plain retrieve carry the first ten only. Lines of an unpaid one are not read. */
export async function fetchInvoice(stripe: Stripe, id: string): Promise<FetchedInvoice> {
  const invoice = parseInvoice(await stripe.invoices.retrieve(id));
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
    lines,
  };
}

async function invoiceLine(stripe: Stripe, line: LineShape): Promise<InvoiceLine> {
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
}

/** Line items only where they are granted from: a completed payment. */
export async function fetchSession(stripe: Stripe, id: string): Promise<FetchedSession> {
  const session = parseSession(await stripe.checkout.sessions.retrieve(id));
  const lines: FetchedSession['lines'] = [];
  if (session.mode === 'payment' && session.status === 'complete') {
    for await (const item of stripe.checkout.sessions.listLineItems(id, { limit: PAGE })) {
      const { price, ...line } = parseSessionLine(item);
      lines.push({ ...line, lookupKey: price === null ? null : linePrice(price).lookupKey });
    }
  }
  return { ...session, lines };
}
