/**
 * What Stripe's present state means for a user, in one transaction under the user's lock: store the facts, settle the
 * ledger by all that is known (domain/settle.ts), mark the event that led here. Applying facts again changes nothing.
 */
import type { Context } from '../context.ts';
import type { Account } from '../domain/account.ts';
import type { PaidLine } from '../domain/paid-lines.ts';
import { type Settled, settle } from '../domain/settle.ts';
import { isKnownStatus, type SubscriptionState } from '../domain/subscription.ts';
import { accountOptions } from '../lib/requests.ts';
import { withAccount } from '../store/account.ts';
import { loadFacts } from '../store/account-roll.ts';
import type { Transaction } from '../store/database.ts';
import { markHandled } from '../store/inbox.ts';
import { storePaidLines } from '../store/paid-lines.ts';
import { refuseParked } from '../store/parking.ts';
import { findSubscription, storeSubscription } from '../store/subscriptions.ts';
import type { FetchedInvoice, FetchedSession } from './fetch.ts';
import { linesOfInvoice, linesOfSession } from './lines.ts';
import type { SubscriptionShape } from './shapes.ts';
import { snapshotOf } from './snapshot.ts';

/** Read from Stripe after `ticket` was drawn. */
export interface FetchedFacts {
  ticket: number;
  subscription: SubscriptionShape | null;
  /** Of the subscription. */
  invoices: readonly FetchedInvoice[];
  session: FetchedSession | null;
}

/**
 * @param eventId the inbox row to mark, if an event led here
 * @throws UserParkedError while the user's ledger violates an invariant
 */
export function applyFacts(
  context: Context,
  userId: string,
  facts: FetchedFacts,
  eventId?: string,
): Promise<string> {
  return withAccount(accountOptions(context), userId, async (account, tx) => {
    await refuseParked(tx, userId);
    const done = await settleFetched(context, account, tx, facts);
    const outcome = done.length === 0 ? 'nothing to do' : done.join('; ');
    if (eventId !== undefined) {
      await markHandled(tx, eventId, { status: 'handled', outcome, userId, now: account.now });
    }
    return outcome;
  });
}

/** Stores what was fetched and settles. @returns what changed, in words */
export async function settleFetched(
  context: Context,
  account: Account,
  tx: Transaction,
  facts: FetchedFacts,
): Promise<string[]> {
  const done: string[] = [];
  const lines: PaidLine[] = facts.session ? linesOfSession(context, facts.session) : [];
  if (facts.subscription) {
    const { snapshot, isNewer } = await takeSnapshot(context, account, tx, facts);
    done.push(`${snapshot.id} ${isNewer ? snapshot.status : 'was newer here'}`);
    lines.push(...facts.invoices.flatMap((invoice) => linesOfInvoice(context, invoice, snapshot)));
  }
  await storePaidLines(tx, account.user.id, lines, { ticket: facts.ticket, now: account.now });
  const settled = settle(account, await loadFacts(tx, account));
  alertSettled(context, account, settled);
  return [...done, ...settled.done];
}

/** A newer fetch may have been stored meanwhile; then this one adds its paid invoices only, which stay paid. */
async function takeSnapshot(
  { catalogue, log }: Context,
  account: Account,
  tx: Transaction,
  { subscription, ticket }: FetchedFacts & { subscription: SubscriptionShape | null },
): Promise<{ snapshot: SubscriptionState; isNewer: boolean }> {
  if (!subscription) throw new Error('There is no subscription to take a snapshot of.');
  const userId = account.user.id;
  const known = (await findSubscription(tx, userId, subscription.id)) ?? undefined;
  const snapshot = snapshotOf(catalogue, subscription, known);
  const subject = { userId, subscriptionId: snapshot.id };
  if (!isKnownStatus(snapshot.status)) {
    const text = 'A status of Stripe that gives nothing here';
    log.error({ alert: 'unknown_status', ...subject, status: snapshot.status }, text);
  }
  if (snapshot.plan === null) {
    const text = 'A subscription to no price of the catalogue';
    log.error({ alert: 'unknown_price', ...subject, priceId: snapshot.priceId }, text);
  }
  const isNewer = await storeSubscription(tx, userId, snapshot, ticket, account.now);
  return { snapshot, isNewer };
}

function alertSettled({ log }: Context, account: Account, { duplicates, paidTwice, late }: Settled): void {
  const { id: userId, currentSubscriptionId: kept } = account.user;
  if (duplicates.length > 0) {
    const text = 'A user pays for two subscriptions and one counts: cancel and refund the other in Stripe';
    log.error({ alert: 'two_subscriptions', userId, kept, others: duplicates }, text);
  }
  for (const { key } of paidTwice) {
    const text = 'Two invoices for one window: the second gives no credits. Refund it if it was not meant';
    log.error({ alert: 'window_paid_twice', userId, key }, text);
  }
  for (const { key, end } of late) {
    const text = 'Paid for a time that was over when it was heard of: its credits have left at once';
    log.error({ alert: 'late_line', userId, key, end }, text);
  }
}

class RolledBack extends Error {}

/**
 * What facts would do, by the code that does it: applied, looked at, and rolled back.
 * @param look reads the account before and after, inside the transaction
 */
export async function previewFacts<T>(
  context: Context,
  userId: string,
  facts: FetchedFacts,
  look: (account: Account) => T,
): Promise<{ before: T; after: T; done: string[] }> {
  let preview: { before: T; after: T; done: string[] } | undefined;
  const quiet = { ...context, log: context.log.child({}, { level: 'silent' }) };
  try {
    await withAccount(accountOptions(context), userId, async (account, tx) => {
      const before = look(account);
      const done = await settleFetched(quiet, account, tx, facts);
      preview = { before, after: look(account), done };
      throw new RolledBack();
    });
  } catch (error) {
    if (!(error instanceof RolledBack)) throw error;
  }
  if (!preview) throw new Error('The preview ended without a result.');
  return preview;
}
