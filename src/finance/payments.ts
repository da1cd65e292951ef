/** Stripe's paid invoices and sessions against our paid lines, line by line and with what went back of their money. */
import type { Context } from '../context.ts';
import { clawChange, lineKeyOf } from '../domain/check-account.ts';
import { difference, sidesOf } from '../domain/differences.ts';
import { UNKNOWN_PRICE } from '../domain/invoice-lines.ts';
import type { Grant } from '../domain/model.ts';
import type { PaidLine, PaymentMoney } from '../domain/paid-lines.ts';
import { packOfPrice, planDefinition, planOfPrice, TOKENS_PER_CREDIT } from '../domain/plans.ts';
import type { SubscriptionState } from '../domain/subscription.ts';
import { findPayments, findSubscriptionsById } from '../store/books.ts';
import { type BulkPayment, paidInvoicePages, paidSessionPages } from '../stripe/bulk.ts';
import { userOfSession } from '../stripe/customers.ts';
import { linesOfInvoice, linesOfSession } from '../stripe/lines.ts';
import type { Check } from './findings.ts';
import { ownersOf } from './owners.ts';
import type { MoneyOf } from './returned.ts';

/** @returns how many payments of subscriptions and packs Stripe has */
export async function comparePayments(check: Check, moneyOf: MoneyOf): Promise<number> {
  let count = 0;
  const created = check.since === null ? {} : { created: { gte: Math.floor(check.since.getTime() / 1000) } };
  const customers = check.user === null ? [undefined] : check.user.customerIds;
  for (const customer of customers) {
    const filter = { ...created, ...(customer === undefined ? {} : { customer }) };
    for (const pages of [paidInvoicePages(check.reader, filter), paidSessionPages(check.reader, filter)]) {
      for await (const page of pages) count += await comparePage(check, page.filter(isOfTollgate), moneyOf);
    }
  }
  return count;
}

/** A manual invoice is nothing of ours: packs are sold by their Checkout session only. */
export function isOfTollgate(payment: BulkPayment): boolean {
  return payment.kind === 'session' || payment.fetched.subscriptionId !== null;
}

const customerOf = ({ kind, fetched }: BulkPayment): string | null =>
  kind === 'invoice' ? fetched.customerId : fetched.customer;

/** Whether something of the catalogue was sold: only then do we care for a customer that is nobody's. */
export function isCatalogues(
  { catalogue }: Pick<Context, 'catalogue'>,
  { kind, fetched }: BulkPayment,
): boolean {
  const keys =
    kind === 'invoice'
      ? fetched.lines.map(({ price }) => price?.lookupKey ?? null)
      : fetched.lines.map(({ lookupKey }) => lookupKey);
  return keys.some(
    (key) => planOfPrice(catalogue, key) !== undefined || packOfPrice(catalogue, key) !== undefined,
  );
}

async function comparePage(check: Check, page: readonly BulkPayment[], moneyOf: MoneyOf): Promise<number> {
  const { context, findings } = check;
  if (page.length === 0) return 0;
  await findings.see(page.map(({ fetched }) => fetched.id));
  const customers = page.flatMap((payment) => {
    const customerId = customerOf(payment);
    return customerId === null ? [] : [{ customerId, mayAsk: isCatalogues(context, payment) }];
  });
  const owners = await ownersOf(check, customers);
  const userOf = (payment: BulkPayment): string | undefined =>
    owners.get(customerOf(payment) ?? '') ??
    (payment.kind === 'session' ? userOfSession(payment.fetched) : undefined);
  const users = page.flatMap((payment) => userOf(payment) ?? []);
  const ids = page.map(({ fetched }) => fetched.id);
  const stored = await findPayments(context.pool, users, ids);
  const subscriptionIds = page.flatMap(({ kind, fetched }) =>
    kind === 'invoice' ? (fetched.subscriptionId ?? []) : [],
  );
  const subscriptions = await findSubscriptionsById(context.pool, users, subscriptionIds);
  const money = await moneyOf(page);
  for (const payment of page) {
    const { id } = payment.fetched;
    const subscriptionId = payment.kind === 'invoice' ? payment.fetched.subscriptionId : null;
    await comparePayment(check, {
      payment,
      userId: userOf(payment),
      subscription: subscriptions.get(subscriptionId ?? ''),
      money: money.get(id) ?? payment.fetched.money,
      lines: stored.lines.filter(({ paymentId }) => paymentId === id),
      grants: stored.grants.filter(
        ({ invoiceId, checkoutSessionId }) => id === (invoiceId ?? checkoutSessionId),
      ),
    });
  }
  return page.length;
}

/** A payment with what we have of it. */
interface Known {
  payment: BulkPayment;
  userId: string | undefined;
  subscription: SubscriptionState | undefined;
  money: PaymentMoney;
  lines: readonly PaidLine[];
  grants: readonly Grant[];
}

async function comparePayment(check: Check, known: Known): Promise<void> {
  const { findings, context } = check;
  const { payment, userId, subscription, money } = known;
  const { id } = payment.fetched;
  const currency = payment.fetched.lines[0]?.currency ?? null;
  const customerId = customerOf(payment);
  if (userId === undefined) {
    if (customerId === null || !isCatalogues(context, payment)) return;
    const stripeSide = { customerId, paymentId: id, paidMinor: money.paidMinor };
    const amount = { moneyMinor: money.paidMinor, currency };
    await findings.add([
      difference({ kind: 'unknown_customer', subjectId: customerId, paymentId: id, stripeSide, ...amount }),
    ]);
    return;
  }
  if (payment.kind === 'invoice' && subscription === undefined) {
    const subscriptionId = payment.fetched.subscriptionId ?? '';
    const subject = { subjectId: subscriptionId, subscriptionId, userId };
    await findings.add([
      difference({ kind: 'lost_subscription', ...subject, moneyMinor: money.paidMinor, currency }),
    ]);
    return;
  }
  const theirs =
    payment.kind === 'session'
      ? linesOfSession(context, { ...payment.fetched, money })
      : subscription
        ? linesOfInvoice(context, { ...payment.fetched, money }, subscription)
        : [];
  await compareLines(check, { ...known, userId }, theirs);
  await compareMoney(check, { ...known, userId }, theirs);
}

const LINE_FIELDS = ['amountMinor', 'currency', 'quantity', 'start', 'end', 'kind', 'offer'] as const;

async function compareLines(
  { findings, context }: Check,
  { userId, lines, grants, payment }: Known & { userId: string },
  theirs: readonly PaidLine[],
): Promise<void> {
  const ours = new Map(lines.map((line) => [line.key, line]));
  const granted = new Set(grants.map(lineKeyOf));
  const subjectOf = (line: PaidLine) => ({
    subjectId: line.key,
    userId,
    paymentId: line.paymentId,
    subscriptionId: line.subscriptionId,
    moneyMinor: line.amountMinor,
    currency: line.currency,
  });
  const missing = theirs.filter(({ key }) => !ours.has(key));
  const lost = missing.filter(
    (line) => line.note === null && line.kind !== 'credit' && !granted.has(line.key),
  );
  for (const line of lost) {
    const tokens = tokensOf(context.catalogue, line);
    await findings.add([
      difference({ kind: 'missing_grant', ...subjectOf(line), stripeSide: sideOf(line), tokens }),
    ]);
    if (line.subscriptionId !== null) await findings.drop('stale_subscription', line.subscriptionId);
  }
  for (const line of lost.length > 0 ? [] : missing) {
    await findings.add([difference({ kind: 'missing_line', ...subjectOf(line), stripeSide: sideOf(line) })]);
  }
  for (const line of theirs) {
    const our = ours.get(line.key);
    if (line.note === UNKNOWN_PRICE && line.amountMinor > 0 && (our?.note ?? UNKNOWN_PRICE) === UNKNOWN_PRICE)
      await findings.add([
        difference({ kind: 'unknown_price', ...subjectOf(line), stripeSide: sideOf(line) }),
      ]);
    const sides =
      our && sidesOf(line, our, line.note === UNKNOWN_PRICE ? LINE_FIELDS.slice(0, 5) : LINE_FIELDS);
    if (sides) await findings.add([difference({ kind: 'wrong_line', ...subjectOf(line), ...sides })]);
  }
  const keys = new Set(theirs.map(({ key }) => key));
  const extra = lines.filter(({ key }) => !keys.has(key));
  await reportExtra(findings, userId, extra, grants);
  const unknown = grants.filter((grant) => {
    const key = lineKeyOf(grant);
    return key !== null && !keys.has(key) && !ours.has(key) && !isVoid(grant);
  });
  for (const grant of unknown) await findings.add([extraGrant(userId, grant, payment.fetched.id)]);
}

const isVoid = ({ voidedAt, isWithheld }: Grant): boolean => voidedAt !== null && !isWithheld;

/** Lines that Stripe does not have: the grants of them, or the bare lines. */
export async function reportExtra(
  findings: Check['findings'],
  userId: string,
  lines: readonly PaidLine[],
  grants: readonly Grant[],
): Promise<void> {
  for (const line of lines) {
    const given = grants.filter((grant) => lineKeyOf(grant) === line.key && !isVoid(grant));
    for (const grant of given) await findings.add([extraGrant(userId, grant, line.paymentId)]);
    if (given.length > 0) continue;
    const subject = {
      subjectId: line.key,
      userId,
      paymentId: line.paymentId,
      subscriptionId: line.subscriptionId,
    };
    const money = { moneyMinor: line.amountMinor, currency: line.currency };
    await findings.add([difference({ kind: 'extra_line', ...subject, ourSide: sideOf(line), ...money })]);
  }
}

export function extraGrant(userId: string, grant: Grant, paymentId: string | null) {
  const { id, key, amountTokens, remainingTokens, costBasisMinor, currency } = grant;
  return difference({
    kind: 'extra_grant',
    subjectId: id,
    userId,
    grantId: id,
    paymentId,
    subscriptionId: grant.subscriptionId,
    ourSide: { grantId: id, key, amountTokens, remainingTokens, costBasisMinor },
    moneyMinor: costBasisMinor,
    currency,
    tokens: amountTokens,
  });
}

const MONEY_FIELDS = ['paidMinor', 'refundedMinor', 'disputedMinor', 'creditedMinor'] as const;

/** Once per payment: what went back of it. */
async function compareMoney(
  { findings }: Check,
  { userId, lines, grants, money, payment }: Known & { userId: string },
  theirs: readonly PaidLine[],
): Promise<void> {
  const keys = new Set(theirs.map(({ key }) => key));
  const line = lines.find(({ key }) => keys.has(key));
  const sides = line && sidesOf(money, line.money, MONEY_FIELDS);
  if (!line || !sides) return;
  const returned = (of: PaymentMoney): number => of.refundedMinor + of.disputedMinor + of.creditedMinor;
  const change = returned(money) - returned(line.money);
  await findings.add([
    difference({
      kind: change > 0 ? 'refund_not_clawed' : 'clawback_wrong',
      subjectId: payment.fetched.id,
      userId,
      paymentId: payment.fetched.id,
      subscriptionId: line.subscriptionId,
      ...sides,
      moneyMinor: change,
      currency: line.currency,
      tokens: clawChange(grants, { money }),
    }),
  ]);
}

function sideOf(line: PaidLine): Record<string, unknown> {
  const { key, kind, offer, quantity, amountMinor, start, end, paidAt, note } = line;
  return { key, kind, offer, quantity, amountMinor, start, end, paidAt, note };
}

/** What the line gives in its first window; null where that depends on others. */
function tokensOf(
  catalogue: Check['context']['catalogue'],
  { kind, offer, quantity }: PaidLine,
): number | null {
  if (offer === null || kind === 'delta') return null;
  const credits =
    kind === 'pack'
      ? (catalogue.packs[offer]?.credits ?? 0)
      : planDefinition(catalogue, offer).creditsPerPeriod;
  return credits * TOKENS_PER_CREDIT * quantity;
}
