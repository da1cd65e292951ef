/**
 * The finance month: money paid in Stripe, credits issued for it at cost, what of them was used, expired, voided, taken
 * back or is still owed; per currency, down to 0 or to a list of what differs. docs/finance.md says what each number means.
 */
import type { Context } from '../context.ts';
import { invalidField } from '../errors.ts';
import { rollUsers } from '../lib/roll-users.ts';
import { type Books, type CreditRow, type LineRow, type Month, readBooks } from '../store/close.ts';
import {
  type CloseDifference,
  monthOf,
  readStripeMonth,
  type StripeMonth,
  type StripeSide,
} from './close-stripe.ts';
import { type Cell, csvLine } from './csv.ts';

type Minors<Name extends string> = Record<`${Name}Minor`, number>;

export interface CurrencyClose {
  currency: string;
  stripe: StripeMonth;
  /** What we have booked, by the day on which we heard of it. */
  booked: Minors<'paid' | 'paidEarlier' | 'bought' | 'noTokens' | 'other'>;
  /** Paid for and not issued yet: the coming months of annual plans. */
  unissued: Minors<'opening' | 'bought' | 'issued' | 'lapsed' | 'closing'>;
  /** Issued and not used yet. */
  deferred: Minors<'opening' | 'issued' | 'recognised' | 'breakage' | 'voided' | 'clawed' | 'closing'>;
  /** What Stripe says was paid, less what we have booked of it. */
  differenceMinor: number;
}

export interface Close {
  month: string;
  from: string;
  to: string;
  /** The month is over. */
  isFinal: boolean;
  currencies: CurrencyClose[];
  credits: CreditRow[];
  lines: LineRow[];
  tokens: Record<
    | 'opening'
    | 'issued'
    | 'consumed'
    | 'expired'
    | 'voided'
    | 'clawed'
    | 'closing'
    | 'debt'
    | 'ledger'
    | 'balances'
    | 'overage',
    number
  >;
  differences: CloseDifference[];
}

/** @throws TollgateError `invalid_request` for a month that has not begun */
export async function closeMonth(context: Context, month: string): Promise<Close> {
  const now = context.clock.now();
  const range = monthRange(month);
  if (range.start > now) throw invalidField('params.month', 'has not begun');
  // What fell due in the month bears its date whenever it is written: it is written first.
  await rollUsers(context, 'due');
  const side = await readStripeMonth(context, range);
  const books = await readBooks(context.pool, range);
  const isFinal = range.end <= now;
  for (const { currency } of [...books.credits, ...books.lines, ...books.payments])
    if (currency) monthOf(side, currency);
  const currencies = [...side.byCurrency.keys()]
    .sort()
    .map((currency) => closeCurrency(currency, side, books));
  const tokens = sumTokens(books);
  return {
    month,
    from: range.start.toISOString(),
    to: range.end.toISOString(),
    isFinal,
    currencies,
    credits: books.credits,
    lines: books.lines,
    tokens,
    differences: [
      ...side.differences,
      ...ownDifferences(currencies, tokens, isFinal ? books.totals.dueUsers : 0),
    ],
  };
}

function monthRange(month: string): Month {
  const [year = 0, number = 0] = month.split('-').map(Number);
  return { start: new Date(Date.UTC(year, number - 1)), end: new Date(Date.UTC(year, number)) };
}

function sum<Row>(rows: readonly Row[], of: (row: Row) => number): number {
  return rows.reduce((total, row) => total + of(row), 0);
}

function closeCurrency(currency: string, side: StripeSide, books: Books): CurrencyClose {
  const stripe = monthOf(side, currency);
  const credits = books.credits.filter((row) => row.currency === currency);
  const lines = books.lines.filter((row) => row.currency === currency);
  const payments = books.payments.find((row) => row.currency === currency);
  const credit = (field: keyof CreditRow): number => sum(credits, (row) => Number(row[field]));
  const line = (field: keyof LineRow): number => sum(lines, (row) => Number(row[field]));
  const paidMinor = payments?.bookedMinor ?? 0;
  const paidEarlierMinor = payments?.paidEarlierMinor ?? 0;
  return {
    currency,
    stripe,
    booked: {
      paidMinor,
      paidEarlierMinor,
      boughtMinor: line('boughtMinor'),
      noTokensMinor: line('noTokensMinor'),
      otherMinor: payments?.otherMinor ?? 0,
    },
    unissued: {
      openingMinor: line('openingMinor'),
      boughtMinor: line('boughtMinor'),
      issuedMinor: line('issuedMinor'),
      lapsedMinor: line('lapsedMinor'),
      closingMinor: line('closingMinor'),
    },
    deferred: {
      openingMinor: credit('openingMinor'),
      issuedMinor: credit('issuedMinor'),
      recognisedMinor: credit('recognisedMinor'),
      breakageMinor: credit('breakageMinor'),
      voidedMinor: credit('voidedMinor'),
      clawedMinor: credit('clawedMinor'),
      closingMinor: credit('closingMinor'),
    },
    differenceMinor: stripe.paidMinor - (paidMinor - paidEarlierMinor + stripe.bookedLaterMinor),
  };
}

function sumTokens({ credits, totals }: Books): Close['tokens'] {
  const of = (field: keyof CreditRow): number => sum(credits, (row) => Number(row[field]));
  return {
    opening: of('openingTokens'),
    issued: of('issuedTokens'),
    consumed: of('consumedTokens'),
    expired: of('expiredTokens'),
    voided: of('voidedTokens'),
    clawed: of('clawedTokens'),
    closing: of('closingTokens'),
    debt: totals.debtTokens,
    ledger: totals.ledgerTokens,
    balances: totals.balanceTokens,
    overage: totals.overageTokens,
  };
}

/** Ledger = grants = balances, and every issued cent was paid for. */
function ownDifferences(
  currencies: readonly CurrencyClose[],
  tokens: Close['tokens'],
  dueUsers: number,
): CloseDifference[] {
  const found: CloseDifference[] = [];
  const nothing = { subjectId: null, currency: null, moneyMinor: null, tokens: null };
  for (const { currency, unissued, deferred } of currencies) {
    const moneyMinor = deferred.issuedMinor - unissued.issuedMinor;
    if (moneyMinor !== 0) found.push({ ...nothing, kind: 'issued_without_line', currency, moneyMinor });
  }
  const inGrants = tokens.closing - tokens.debt - tokens.ledger;
  if (inGrants !== 0) found.push({ ...nothing, kind: 'ledger_grants', tokens: inGrants });
  const inBalances = tokens.balances - tokens.ledger;
  if (inBalances !== 0) found.push({ ...nothing, kind: 'ledger_balances', tokens: inBalances });
  if (dueUsers > 0) found.push({ ...nothing, kind: 'due_users', subjectId: `${dueUsers} users` });
  return found;
}

const COLUMNS = ['month', 'section', 'currency', 'offer', 'source', 'measure', 'value'];

/** One number a line: the same numbers as the JSON. */
export function closeCsv(close: Close): string {
  let text = csvLine(COLUMNS);
  const add = (section: string, keys: [Cell, Cell, Cell], values: Record<string, Cell>): void => {
    for (const [measure, value] of Object.entries(values))
      text += csvLine([close.month, section, ...keys, measure, value]);
  };
  for (const { currency, stripe, booked, unissued, deferred, differenceMinor } of close.currencies) {
    for (const [section, values] of Object.entries({ stripe, booked, unissued, deferred }))
      add(section, [currency, null, null], { ...values });
    add('difference', [currency, null, null], { differenceMinor });
  }
  for (const { currency, offer, source, ...values } of close.credits)
    add('credits', [currency, offer, source], values);
  for (const { currency, offer, ...values } of close.lines) add('lines', [currency, offer, null], values);
  add('tokens', [null, null, null], close.tokens);
  for (const { kind, subjectId, currency, moneyMinor, tokens } of close.differences)
    add('differences', [currency, subjectId, kind], { moneyMinor, tokens });
  return text;
}
