/** Stripe's side of a finance month: what was paid in it, fetched now, against what we have booked. */
import type { Context } from '../context.ts';
import { findUsersOfCustomers } from '../store/books.ts';
import { type Booking, findBookings, listPaidIn, type Month } from '../store/close.ts';
import { newId } from '../store/ids.ts';
import { addMarks, deleteMarks, findMarks } from '../store/reconciliations.ts';
import {
  type BulkPayment,
  type BulkReader,
  openBulkReader,
  paidInvoicePages,
  paidSessionPages,
  returnedPages,
} from '../stripe/bulk.ts';
import { isMissing } from '../stripe/client.ts';
import { userOfSession } from '../stripe/customers.ts';
import { fetchInvoice, fetchSession } from '../stripe/fetch.ts';
import { isCatalogues, isOfTollgate } from './payments.ts';

const PAGE = 500;
const DAY_MS = 86_400_000;
/** An invoice may be paid long after it was made; one that is older than this is found from our side. */
const REACH_DAYS = 60;

export interface CloseDifference {
  kind:
    | 'not_booked'
    | 'not_in_stripe'
    | 'wrong_payment'
    | 'issued_without_line'
    | 'ledger_grants'
    | 'ledger_balances'
    | 'due_users';
  subjectId: string | null;
  currency: string | null;
  moneyMinor: number | null;
  tokens: number | null;
}

/** Per currency, in minor units. */
export interface StripeMonth {
  paidMinor: number;
  /** Paid for other things than plans and packs. */
  outsideMinor: number;
  /** Paid in the month and booked after it. */
  bookedLaterMinor: number;
  /** Of the whole Stripe account, by the day on which they were made. */
  refundedMinor: number;
  disputedMinor: number;
  creditedMinor: number;
}

export interface StripeSide {
  byCurrency: Map<string, StripeMonth>;
  differences: CloseDifference[];
}

const NOTHING: StripeMonth = {
  paidMinor: 0,
  outsideMinor: 0,
  bookedLaterMinor: 0,
  refundedMinor: 0,
  disputedMinor: 0,
  creditedMinor: 0,
};

interface Reading {
  context: Context;
  reader: BulkReader;
  month: Month;
  side: StripeSide;
  /** The marks of this reading. */
  id: string;
}

export async function readStripeMonth(context: Context, month: Month): Promise<StripeSide> {
  const side: StripeSide = { byCurrency: new Map(), differences: [] };
  const reading = { context, reader: openBulkReader(context), month, side, id: newId('close') };
  const seconds = (date: Date): number => Math.floor(date.getTime() / 1000);
  const created = { gte: seconds(month.start) - (REACH_DAYS * DAY_MS) / 1000, lt: seconds(month.end) };
  try {
    for (const pages of [
      paidInvoicePages(reading.reader, { created }),
      paidSessionPages(reading.reader, { created }),
    ])
      for await (const page of pages) await readPage(reading, page);
    await readOurs(reading);
  } finally {
    await deleteMarks(context.pool, reading.id);
  }
  const inMonth = { gte: seconds(month.start), lt: seconds(month.end) };
  for await (const page of returnedPages(reading.reader, { created: inMonth })) {
    for (const { kind, currency, minor } of page) monthOf(side, currency)[`${kind}Minor`] += minor;
  }
  return side;
}

export function monthOf({ byCurrency }: StripeSide, currency: string): StripeMonth {
  const known = byCurrency.get(currency) ?? { ...NOTHING };
  byCurrency.set(currency, known);
  return known;
}

const isIn = ({ start, end }: Month, at: Date): boolean => start <= at && at < end;

async function readPage(reading: Reading, all: readonly BulkPayment[]): Promise<void> {
  const { context, month, side } = reading;
  const page = all.filter(({ fetched }) => isIn(month, fetched.paidAt));
  const ids = page.map(({ fetched }) => fetched.id);
  await addMarks(
    context.pool,
    reading.id,
    ids.map((subjectId) => ({ kind: 'seen', subjectId, minor: 0 })),
  );
  const customerOf = (one: BulkPayment) =>
    one.kind === 'invoice' ? one.fetched.customerId : one.fetched.customer;
  const owners = await findUsersOfCustomers(
    context.pool,
    page.flatMap((one) => customerOf(one) ?? []),
  );
  const userOf = (one: BulkPayment) =>
    owners.get(customerOf(one) ?? '') ?? (one.kind === 'session' ? userOfSession(one.fetched) : undefined);
  const bookings = await findBookings(
    context.pool,
    page.flatMap((one) => userOf(one) ?? []),
    ids,
  );
  for (const one of page) {
    const { id, money, lines } = one.fetched;
    const currency = lines[0]?.currency;
    // Nothing was sold: no line, no money.
    if (currency === undefined) continue;
    // Of a customer that is nobody's (yet) as well: its money is paid for credits that nobody has.
    const isOurs = isOfTollgate(one) && (userOf(one) !== undefined || isCatalogues(context, one));
    if (!isOurs) monthOf(side, currency).outsideMinor += money.paidMinor;
    else count(reading, { id, currency, paidMinor: money.paidMinor }, bookings.get(id));
  }
}

/** A payment of ours in the month, as Stripe has it. */
function count(
  { month, side }: Reading,
  { id, currency, paidMinor }: { id: string; currency: string; paidMinor: number },
  booking: Booking | undefined,
): void {
  const sums = monthOf(side, currency);
  sums.paidMinor += paidMinor;
  const bookedMinor = booking?.paidMinor ?? 0;
  if (booking && booking.bookedAt >= month.end) sums.bookedLaterMinor += bookedMinor;
  if (bookedMinor === paidMinor) return;
  const kind = booking ? 'wrong_payment' : 'not_booked';
  side.differences.push({ kind, subjectId: id, currency, moneyMinor: paidMinor - bookedMinor, tokens: null });
}

/** What we have as paid in the month and the lists did not show: older invoices, or what Stripe does not have. */
async function readOurs(reading: Reading): Promise<void> {
  const { pool, stripe } = reading.context;
  let after = '';
  for (;;) {
    const page = await listPaidIn(pool, reading.month, after, PAGE);
    const marks = await findMarks(
      pool,
      reading.id,
      page.map(({ paymentId }) => paymentId),
    );
    const seen = new Set(marks.map(({ subjectId }) => subjectId));
    for (const booking of page.filter(({ paymentId }) => !seen.has(paymentId))) {
      await reading.reader.pace();
      const paidMinor = await paidOf(stripe, booking.paymentId);
      if (paidMinor !== null) {
        count(reading, { id: booking.paymentId, currency: booking.currency, paidMinor }, booking);
        continue;
      }
      const subject = { subjectId: booking.paymentId, currency: booking.currency, tokens: null };
      reading.side.differences.push({ kind: 'not_in_stripe', ...subject, moneyMinor: -booking.paidMinor });
      if (booking.bookedAt >= reading.month.end)
        monthOf(reading.side, booking.currency).bookedLaterMinor += booking.paidMinor;
    }
    const last = page.at(-1);
    if (!last || page.length < PAGE) return;
    after = last.paymentId;
  }
}

async function paidOf(stripe: Context['stripe'], paymentId: string): Promise<number | null> {
  try {
    if (paymentId.startsWith('cs_')) return (await fetchSession(stripe, paymentId)).money.paidMinor;
    const invoice = await fetchInvoice(stripe, paymentId);
    return invoice.isPaid ? invoice.money.paidMinor : null;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}
