/**
 * Everything that Stripe has, page by page: for comparisons of the whole. What a page needs comes with it by `expand`,
 * so that a hundred payments are one request and not three hundred.
 */
import { RateLimiterMemory, RateLimiterQueue } from 'rate-limiter-flexible';
import type Stripe from 'stripe';
import type { Context } from '../context.ts';
import { isLiveKey } from './client.ts';
import { type FetchedInvoice, type FetchedSession, invoiceLine, NO_MONEY } from './fetch.ts';
import { creditedBy, disputedBy, paidBy, refundedBy, type Source } from './money.ts';
import { linePrice } from './prices.ts';
import {
  parseCreditNote,
  parseDispute,
  parseIntent,
  parseInvoice,
  parseLine,
  parseRefund,
  parseSession,
  parseSessionLine,
  parseSubscription,
  type SubscriptionShape,
} from './shapes.ts';

const PAGE = 100;
/** Stripe allows 100 reads a second in live mode for everything together (https://docs.stripe.com/rate-limits). */
const LIVE_REQUESTS_PER_SECOND = 20;

export interface BulkReader {
  stripe: Stripe;
  /** Resolves when the next request may go out. */
  pace(): Promise<unknown>;
}

export function openBulkReader({ stripe, config }: Pick<Context, 'stripe' | 'config'>): BulkReader {
  if (!isLiveKey(config)) return { stripe, pace: async () => undefined };
  const limiter = new RateLimiterMemory({ points: LIVE_REQUESTS_PER_SECOND, duration: 1 });
  const queue = new RateLimiterQueue(limiter);
  return { stripe, pace: () => queue.removeTokens(1) };
}

/** Which objects: of one customer, created in a stretch of time (seconds; both ends optional). */
export interface BulkFilter {
  customer?: string;
  created?: { gte?: number; lt?: number };
}

async function* pages<T extends { id?: string | undefined }>(
  { pace }: BulkReader,
  list: (place: { limit: number; starting_after?: string }) => Promise<{ data: T[]; has_more: boolean }>,
): AsyncGenerator<T[]> {
  let after: string | undefined;
  for (;;) {
    await pace();
    const page = await list({ limit: PAGE, ...(after === undefined ? {} : { starting_after: after }) });
    if (page.data.length > 0) yield page.data;
    after = page.data.at(-1)?.id;
    if (!page.has_more || after === undefined) return;
  }
}

/** Whatever their status. */
export async function* subscriptionPages(
  reader: BulkReader,
  { customer }: BulkFilter,
): AsyncGenerator<SubscriptionShape[]> {
  const filter = { status: 'all' as const, ...(customer === undefined ? {} : { customer }) };
  for await (const page of pages(reader, (place) =>
    reader.stripe.subscriptions.list({ ...filter, ...place }),
  ))
    yield page.map(parseSubscription);
}

/** A paid invoice or session. What went back of its money is not known yet: `fetched.money` has `paidMinor` only. */
export type BulkPayment = { sources: Source[] } & (
  | { kind: 'invoice'; fetched: FetchedInvoice }
  | { kind: 'session'; fetched: FetchedSession }
);

export async function* paidInvoicePages(
  reader: BulkReader,
  filter: BulkFilter,
): AsyncGenerator<BulkPayment[]> {
  const list = (place: { limit: number }) =>
    reader.stripe.invoices.list({ ...filter, ...place, status: 'paid', expand: ['data.payments'] });
  for await (const page of pages(reader, list)) {
    const found: BulkPayment[] = [];
    for (const one of page) found.push(await invoicePayment(reader, one));
    yield found;
  }
}

async function invoicePayment(reader: BulkReader, found: Stripe.Invoice): Promise<BulkPayment> {
  const invoice = parseInvoice(found);
  const { paidMinor, sources } = paidBy(invoice.amount_paid, found.payments?.data ?? []);
  const lines = found.lines.has_more ? await allLines(reader, invoice.id) : found.lines.data;
  const fetched: FetchedInvoice = {
    id: invoice.id,
    customerId: invoice.customer,
    subscriptionId: invoice.parent,
    billingReason: invoice.billing_reason,
    isRevision: invoice.from_invoice?.action === 'revision',
    isPaid: invoice.status === 'paid',
    paidAt: invoice.status_transitions.paid_at ?? invoice.created,
    money: { ...NO_MONEY, paidMinor },
    lines: [],
  };
  for (const line of lines) fetched.lines.push(await invoiceLine(reader.stripe, parseLine(line)));
  return { kind: 'invoice', fetched, sources };
}

async function allLines(reader: BulkReader, invoiceId: string): Promise<Stripe.InvoiceLineItem[]> {
  const lines: Stripe.InvoiceLineItem[] = [];
  for await (const page of pages(reader, (place) => reader.stripe.invoices.listLineItems(invoiceId, place)))
    lines.push(...page);
  return lines;
}

/** Sessions in payment mode whose money has arrived. */
export async function* paidSessionPages(
  reader: BulkReader,
  filter: BulkFilter,
): AsyncGenerator<BulkPayment[]> {
  const expand = ['data.line_items', 'data.payment_intent.latest_charge'];
  const list = (place: { limit: number }) =>
    reader.stripe.checkout.sessions.list({ ...filter, ...place, status: 'complete', expand });
  for await (const page of pages(reader, list)) {
    const found: BulkPayment[] = [];
    for (const one of page) {
      if (one.mode === 'payment' && one.payment_status !== 'unpaid')
        found.push(await sessionPayment(reader, one));
    }
    yield found;
  }
}

async function sessionPayment(reader: BulkReader, found: Stripe.Checkout.Session): Promise<BulkPayment> {
  const session = parseSession(found);
  const items =
    found.line_items?.has_more === false ? found.line_items.data : await allItems(reader, session.id);
  const intent = found.payment_intent === null ? null : parseIntent(found.payment_intent);
  const charge = intent?.latest_charge ?? null;
  const lines = items.map((item) => {
    const { price, ...line } = parseSessionLine(item);
    return { ...line, lookupKey: price === null ? null : linePrice(price).lookupKey };
  });
  const paidAt = charge === null || typeof charge === 'string' ? session.created : charge.created;
  const money = { ...NO_MONEY, paidMinor: intent?.amount_received ?? 0 };
  return {
    kind: 'session',
    fetched: { ...session, lines, paidAt, money },
    sources: intent === null ? [] : [{ payment_intent: intent.id }],
  };
}

async function allItems(reader: BulkReader, sessionId: string): Promise<Stripe.LineItem[]> {
  const items: Stripe.LineItem[] = [];
  const list = (place: { limit: number }) => reader.stripe.checkout.sessions.listLineItems(sessionId, place);
  for await (const page of pages(reader, list)) items.push(...page);
  return items;
}

/** Money that went back: of which payment intent, charge or invoice. */
export interface Returned {
  kind: 'refunded' | 'disputed' | 'credited';
  /** The refund, dispute or credit note. */
  id: string;
  subjectId: string;
  minor: number;
  currency: string;
}

export async function* returnedPages(
  reader: BulkReader,
  { created }: Pick<BulkFilter, 'created'>,
): AsyncGenerator<Returned[]> {
  const { stripe } = reader;
  const filter = created === undefined ? {} : { created };
  for await (const page of pages(reader, (place) => stripe.refunds.list({ ...filter, ...place })))
    yield page.map((one) => returned('refunded', one, parseRefund(one), refundedBy(parseRefund(one))));
  for await (const page of pages(reader, (place) => stripe.disputes.list({ ...filter, ...place })))
    yield page.map((one) => returned('disputed', one, parseDispute(one), disputedBy(parseDispute(one))));
  for await (const page of pages(reader, (place) => stripe.creditNotes.list({ ...filter, ...place }))) {
    yield page.map((one) => {
      const note = parseCreditNote(one);
      const { currency } = one;
      return { kind: 'credited', id: note.id, subjectId: note.invoice, minor: creditedBy(note), currency };
    });
  }
}

function returned(
  kind: 'refunded' | 'disputed',
  { id, currency }: { id: string; currency: string },
  { payment_intent: intent, charge }: { payment_intent: string | null; charge: string | null },
  minor: number,
): Returned {
  return { kind, id, subjectId: intent ?? charge ?? id, minor, currency };
}
