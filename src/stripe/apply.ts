/**
 * What Stripe's present state means for a user, in one transaction under the user's lock: snapshot, paid terms, plan,
 * allowances, packs, and the mark on the event that led here. Keys protect it, so applying facts again changes nothing.
 */
import type { Context } from '../context.ts';
import type { Account } from '../domain/account.ts';
import { classifyLine, type InvoiceLine, isKnownBillingReason } from '../domain/invoice-lines.ts';
import { allowanceKey, landTopUp, resumeWindow, settleTerm, termWindows } from '../domain/paid-terms.ts';
import { packOfPrice, TOKENS_PER_CREDIT } from '../domain/plans.ts';
import {
  applySubscriptions,
  entitledSubscriptions,
  isKnownStatus,
  type PaidTerm,
  type SubscriptionState,
} from '../domain/subscription.ts';
import { accountOptions } from '../lib/requests.ts';
import { withAccount } from '../store/account.ts';
import type { Transaction } from '../store/database.ts';
import { countLineGrants, findGrantId, findWindowKey } from '../store/grants.ts';
import { markHandled } from '../store/inbox.ts';
import {
  findSubscription,
  listSubscriptions,
  storePaidTerm,
  storeSubscription,
} from '../store/subscriptions.ts';
import type { FetchedInvoice, FetchedSession } from './fetch.ts';
import type { SubscriptionShape } from './shapes.ts';
import { keptLookupKey, snapshotOf } from './snapshot.ts';

/** Read from Stripe after `ticket` was drawn. */
export interface Facts {
  ticket: number;
  subscription: SubscriptionShape | null;
  invoice: FetchedInvoice | null;
  session: FetchedSession | null;
}

interface Work {
  context: Context;
  account: Account;
  tx: Transaction;
  userId: string;
  /** What was done, in words, for the inbox row. */
  done: string[];
}

/** @param eventId the inbox row to mark, if an event led here */
export function applyFacts(
  context: Context,
  userId: string,
  facts: Facts,
  eventId?: string,
): Promise<string> {
  return withAccount(accountOptions(context), userId, async (account, tx) => {
    const work: Work = { context, account, tx, userId, done: [] };
    if (facts.subscription) await applySubscription(work, facts.subscription, facts);
    if (facts.session) await grantPacks(work, facts.session);
    const outcome = work.done.length === 0 ? 'nothing to do' : work.done.join('; ');
    if (eventId !== undefined) {
      await markHandled(tx, eventId, { status: 'handled', outcome, userId, now: account.now });
    }
    return outcome;
  });
}

async function applySubscription(
  work: Work,
  fetched: SubscriptionShape,
  { ticket, invoice }: Facts,
): Promise<void> {
  const { context, account, tx, userId, done } = work;
  const known = (await findSubscription(tx, userId, fetched.id)) ?? undefined;
  const snapshot = snapshotOf(context.catalogue, fetched, known);
  alertUnknown(work, snapshot);
  // A newer fetch has been stored meanwhile: this one has nothing to add but its paid invoice, which stays paid.
  const isNewer = await storeSubscription(tx, userId, snapshot, ticket, account.now);
  done.push(`${fetched.id} ${isNewer ? fetched.status : 'was newer here'}`);
  const terms = known?.paid ? [known.paid] : [];
  for (const term of invoice ? paidTerms(work, invoice, snapshot) : []) {
    // A change inside a window is the newest term only if it pays for longer: from months to a year.
    const paysLonger = !known?.paid || term.end > known.paid.end;
    if (!term.isTopUp || paysLonger) await storePaidTerm(tx, userId, fetched.id, term);
    terms.push(term);
  }
  const subscriptions = await listSubscriptions(tx, userId);
  applySubscriptions(account, subscriptions);
  alertDuplicates(work, subscriptions);
  await settle(work, subscriptions, new Map(terms.map((term) => [term.lineId, { term, of: fetched.id }])));
}

function alertUnknown({ context, userId }: Work, { id, status, plan, priceId }: SubscriptionState): void {
  const subject = { userId, subscriptionId: id };
  if (!isKnownStatus(status)) {
    context.log.error(
      { alert: 'unknown_status', ...subject, status },
      'A status of Stripe that gives nothing here',
    );
  }
  if (plan === null) {
    context.log.error(
      { alert: 'unknown_price', ...subject, priceId },
      'A subscription to no price of the catalogue',
    );
  }
}

function alertDuplicates(
  { context, account, userId }: Work,
  subscriptions: readonly SubscriptionState[],
): void {
  const kept = account.user.currentSubscriptionId;
  const others = entitledSubscriptions(account, subscriptions).filter(({ id }) => id !== kept);
  if (others.length === 0) return;
  context.log.error(
    { alert: 'two_subscriptions', userId, kept, others: others.map(({ id }) => id) },
    'A user pays for two subscriptions and one counts: cancel and refund the other in Stripe',
  );
}

/** The terms that a paid invoice bought; everything else on it is noted. */
function paidTerms(work: Work, invoice: FetchedInvoice, subscription: SubscriptionState): PaidTerm[] {
  if (!invoice.isPaid) return [];
  const { context, userId } = work;
  const alert = (name: string, line: InvoiceLine | null): void =>
    context.log.error(
      { alert: name, userId, invoiceId: invoice.id, lineId: line?.id, priceId: line?.price?.id },
      'A paid invoice has something that gives no credits here',
    );
  if (!isKnownBillingReason(invoice.billingReason)) alert('unknown_billing_reason', null);
  return invoice.lines.flatMap((line) => {
    const price = line.price && {
      ...line.price,
      lookupKey: line.price.lookupKey ?? keptLookupKey(subscription, line.price.id),
    };
    const isOther = line.subscriptionId !== null && line.subscriptionId !== subscription.id;
    const meaning = classifyLine(context.catalogue, invoice, { ...line, price }, subscription.trialEnd);
    if (isOther) alert('line_of_other_subscription', line);
    else if ('term' in meaning) return [meaning.term];
    else if (meaning.kind === 'unknown_price') alert('unknown_price_line', line);
    return [];
  });
}

/** Every term that may still have to land: the ones just learnt of, and those that wait on the user's subscriptions. */
async function settle(
  work: Work,
  subscriptions: readonly SubscriptionState[],
  terms: Map<string, { term: PaidTerm; of: string }>,
): Promise<void> {
  for (const { id, paid } of subscriptions) if (paid) terms.set(paid.lineId, { term: paid, of: id });
  const inOrder = [...terms.values()].sort((a, b) => a.term.start.getTime() - b.term.start.getTime());
  for (const { term, of } of inOrder) {
    const subscription = subscriptions.find(({ id }) => id === of);
    if (subscription) await settleOne(work, subscription, term, subscriptions);
  }
}

async function settleOne(
  work: Work,
  subscription: SubscriptionState,
  term: PaidTerm,
  all: readonly SubscriptionState[],
): Promise<void> {
  const { context, account, tx, userId, done } = work;
  const grantedWindows = await grantsOfTerm(work, term);
  if (term.isTopUp) return settleTopUp(work, subscription, term, grantedWindows);
  const subject = { userId, subscriptionId: subscription.id, invoiceId: term.invoiceId, lineId: term.lineId };
  if (grantedWindows === 0) {
    const window = { subscriptionItemId: term.itemId ?? subscription.itemId, start: term.start };
    const other = await findWindowKey(tx, userId, window);
    if (other !== undefined) {
      const text = 'Two invoices for one window: the second gives no credits. Refund it if it was not meant';
      context.log.error({ alert: 'window_paid_twice', ...subject, other }, text);
      return;
    }
  }
  const settlement = settleTerm(account, subscription, term, { grantedWindows }, all);
  if (settlement === 'resumed') return;
  done.push(`${allowanceKey(term, 0)} ${settlement} (1 of ${termWindows(term).length})`);
  if (settlement !== 'landed')
    context.log.warn({ ...subject, settlement }, 'A paid line gave no spendable credits');
}

async function grantsOfTerm({ account, tx, userId }: Work, term: PaidTerm): Promise<number> {
  // What the roll has just granted is not stored yet.
  const fresh = [...account.newGrants].filter(({ invoiceLineId }) => invoiceLineId === term.lineId);
  return (await countLineGrants(tx, userId, term)) + fresh.length;
}

/** The first window of a top-up is the one that runs already; the months of a year follow it. */
async function settleTopUp(
  { account, tx, userId, done }: Work,
  subscription: SubscriptionState,
  term: PaidTerm,
  grants: number,
): Promise<void> {
  const key = allowanceKey(term, 0);
  const hasLanded = (await findGrantId(tx, userId, key)) !== undefined;
  if (!hasLanded && landTopUp(account, subscription, term)) done.push(`${key} topped up`);
  const months = grants - (hasLanded ? 1 : 0);
  const isNewest = subscription.paid?.lineId === term.lineId;
  const isCurrent = account.user.currentSubscriptionId === subscription.id && isNewest;
  if (isCurrent && months > 0) resumeWindow(account, term, months + 1);
}

/**
 * Packs of a payment-mode session. `unpaid` is a delayed method that has not settled yet
 * (https://docs.stripe.com/payments/checkout/fulfill-orders).
 */
async function grantPacks(
  { context, account, tx, userId, done }: Work,
  session: FetchedSession,
): Promise<void> {
  const isPaid = session.status === 'complete' && session.payment_status !== 'unpaid';
  if (session.mode !== 'payment' || !isPaid) return;
  for (const line of session.lines) {
    const bought = packOfPrice(context.catalogue, line.lookupKey);
    const key = `pack:${session.id}:${line.id}`;
    if (!bought) {
      const text = 'A session was paid for something that is no pack of the catalogue';
      context.log.error(
        { alert: 'unknown_price_line', userId, sessionId: session.id, lineId: line.id },
        text,
      );
      continue;
    }
    if (await findGrantId(tx, userId, key)) continue;
    account.grant({
      key,
      source: 'top_up',
      tokens: bought.definition.credits * TOKENS_PER_CREDIT * (line.quantity ?? 1),
      expiresAt: null,
      details: {
        offer: bought.pack,
        reason: `Pack ${bought.pack}`,
        costBasisMinor: line.amount_total,
        currency: line.currency,
      },
    });
    done.push(`${key} granted`);
  }
}
