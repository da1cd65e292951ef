/**
 * A webhook is a pointer: read the present object from Stripe and make ours agree (docs/decisions, stripe.md B1). The
 * ticket is drawn before the first read, so that of two handlings the one that read later wins.
 */
import type { Context } from '../context.ts';
import { findKnownPayments } from '../store/paid-lines.ts';
import { nextFetchTicket } from '../store/subscriptions.ts';
import { applyFacts } from './apply.ts';
import { userOfCustomer, userOfSession } from './customers.ts';
import {
  type FetchedInvoice,
  fetchInvoice,
  fetchSession,
  fetchSubscription,
  paidInvoicePages,
} from './fetch.ts';
import type { SessionShape } from './shapes.ts';

/** The subscription with every invoice that was paid for it and is not known here. */
export async function syncSubscription(
  context: Context,
  subscriptionId: string,
  eventId?: string,
): Promise<string> {
  const ticket = await nextFetchTicket(context.pool);
  const subscription = await fetchSubscription(context.stripe, subscriptionId);
  const userId = await userOfCustomer(context, subscription.customer);
  const invoices = await newPaidInvoices(context, userId, subscriptionId);
  await applyFacts(context, userId, { ticket, subscription, invoices, session: null }, eventId);
  return userId;
}

/**
 * An invoice with its subscription, and with what became of its money.
 * @returns null for an invoice without subscription: packs are granted by their Checkout session only
 */
export async function syncInvoice(
  context: Context,
  invoiceId: string,
  eventId?: string,
): Promise<string | null> {
  const ticket = await nextFetchTicket(context.pool);
  const invoice = await fetchInvoice(context.stripe, invoiceId);
  if (invoice.subscriptionId === null) return null;
  const subscription = await fetchSubscription(context.stripe, invoice.subscriptionId);
  const userId = await userOfCustomer(context, subscription.customer);
  const others = await newPaidInvoices(context, userId, invoice.subscriptionId, invoiceId);
  const facts = { ticket, subscription, invoices: [invoice, ...others], session: null };
  await applyFacts(context, userId, facts, eventId);
  return userId;
}

/** @param except one that is at hand already */
async function newPaidInvoices(
  { stripe, pool }: Context,
  userId: string,
  subscriptionId: string,
  except?: string,
): Promise<FetchedInvoice[]> {
  const found: FetchedInvoice[] = [];
  for await (const ids of paidInvoicePages(stripe, subscriptionId)) {
    const known = await findKnownPayments(pool, userId, ids);
    const fresh = ids.filter((id) => !known.has(id) && id !== except);
    for (const id of fresh) found.push(await fetchInvoice(stripe, id));
    // Newest first: behind a page that is all known there is nothing new, but for what its own event brings.
    if (fresh.length === 0) break;
  }
  return found;
}

/**
 * Everything that a Checkout session led to: the customer's user, the subscription and its invoices, packs.
 * @returns null for a session that is not ours
 */
export async function syncCheckoutSession(
  context: Context,
  sessionId: string,
  eventId?: string,
): Promise<{ userId: string; session: SessionShape } | null> {
  const ticket = await nextFetchTicket(context.pool);
  const session = await fetchSession(context.stripe, sessionId);
  const { customer } = session;
  if (customer === null && userOfSession(session) === undefined) return null;
  const subscription =
    session.subscription === null ? null : await fetchSubscription(context.stripe, session.subscription);
  const userId =
    customer === null ? userOfSession(session) : await userOfCustomer(context, customer, session);
  if (userId === undefined) return null;
  const invoices = subscription ? await newPaidInvoices(context, userId, subscription.id) : [];
  await applyFacts(context, userId, { ticket, subscription, invoices, session }, eventId);
  return { userId, session };
}
