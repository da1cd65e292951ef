/**
 * A webhook is a pointer: read the present object from Stripe and make ours agree (docs/decisions, stripe.md B1). The
 * ticket is drawn before the first read, so that of two handlings the one that read later wins.
 */
import type { Context } from '../context.ts';
import { findEvent, type InboxRow, markHandled, markUnhandled } from '../store/inbox.ts';
import { nextFetchTicket } from '../store/subscriptions.ts';
import { applyFacts } from './apply.ts';
import { UnknownCustomerError, userOfCustomer, userOfSession } from './customers.ts';
import { fetchInvoice, fetchSession, fetchSubscription } from './fetch.ts';
import type { SessionShape } from './shapes.ts';

type Sync = (context: Context, objectId: string, eventId?: string) => Promise<unknown>;

/**
 * The types we subscribe to; all others are counted and ignored. None of them carries an effect of its own: which
 * object it points at is all that matters (stripe.md B1). invoice.payment_succeeded is a subset of invoice.paid.
 */
const SYNCS: Record<string, Sync> = {
  'checkout.session.completed': syncCheckoutSession,
  'checkout.session.async_payment_succeeded': syncCheckoutSession,
  'checkout.session.async_payment_failed': syncCheckoutSession,
  'checkout.session.expired': syncCheckoutSession,
  'customer.subscription.created': syncSubscription,
  'customer.subscription.updated': syncSubscription,
  'customer.subscription.deleted': syncSubscription,
  'customer.subscription.paused': syncSubscription,
  'customer.subscription.resumed': syncSubscription,
  'customer.subscription.pending_update_applied': syncSubscription,
  'invoice.paid': syncInvoice,
  'invoice.payment_failed': syncInvoice,
};

export const HANDLED_EVENT_TYPES: readonly string[] = Object.keys(SYNCS);

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const MAX_ATTEMPTS = 10;

/**
 * Handles one event of the inbox, whatever happened to it before; handling it twice has one effect.
 * @throws what went wrong, after it was noted on the row with the time of the next attempt
 */
export async function handleStripeEvent(context: Context, eventId: string): Promise<void> {
  const event = await findEvent(context.pool, eventId);
  if (!event) {
    context.log.warn({ eventId }, 'A job points at an event that is not in the inbox');
    return;
  }
  if (event.status === 'handled' || event.status === 'ignored') return;
  try {
    await dispatch(context, event);
  } catch (error) {
    if (error instanceof UnknownCustomerError) await park(context, event, error);
    else {
      await noteFailure(context, event, error);
      throw error;
    }
  }
}

async function dispatch(context: Context, event: InboxRow): Promise<void> {
  const sync = SYNCS[event.type];
  const ignore = (outcome: string): Promise<void> =>
    markHandled(context.pool, event.id, {
      status: 'ignored',
      outcome,
      userId: null,
      now: context.clock.now(),
    });
  if (!sync) return ignore('no type that we act on');
  if (event.objectId === null) return ignore('the event names no object');
  const isOurs = await sync(context, event.objectId, event.id);
  if (isOurs === null) await ignore('nothing of ours');
}

/** Its customer is nobody's yet: later, at growing distances, and never dropped (stripe.md B4). */
async function park(context: Context, event: InboxRow, error: UnknownCustomerError): Promise<void> {
  const now = context.clock.now();
  const wait = Math.min(MINUTE_MS * 2 ** Math.min(event.attempts, 20), DAY_MS);
  const nextAttemptAt = new Date(now.getTime() + wait);
  await markUnhandled(context.pool, event.id, { status: 'parked', error: error.message, nextAttemptAt });
  if (now.getTime() - event.receivedAt.getTime() < DAY_MS) return;
  context.log.error(
    { alert: 'event_parked', eventId: event.id, type: event.type, customerId: error.customerId },
    'An event has waited for a day for its customer to be known',
  );
}

async function noteFailure(context: Context, event: InboxRow, error: unknown): Promise<void> {
  const isLast = event.attempts + 1 >= MAX_ATTEMPTS;
  const wait = Math.min((MINUTE_MS / 2) * 2 ** event.attempts, DAY_MS / 4);
  const subject = { err: error, eventId: event.id, type: event.type, attempt: event.attempts + 1 };
  if (isLast) context.log.error({ alert: 'event_failed', ...subject }, 'An event was given up: replay it');
  else context.log.warn(subject, 'An event could not be handled; it will be tried again');
  await markUnhandled(context.pool, event.id, {
    status: isLast ? 'failed' : 'pending',
    error: error instanceof Error ? error.message : String(error),
    nextAttemptAt: new Date(context.clock.now().getTime() + wait),
  });
}

/** The subscription and its latest invoice, which grants if it is paid: the economic fact decides, not the event. */
export async function syncSubscription(
  context: Context,
  subscriptionId: string,
  eventId?: string,
): Promise<string> {
  const ticket = await nextFetchTicket(context.pool);
  const facts = await subscriptionFacts(context, subscriptionId);
  const userId = await userOfCustomer(context, facts.subscription.customer);
  await applyFacts(context, userId, { ticket, ...facts, session: null }, eventId);
  return userId;
}

async function subscriptionFacts({ stripe }: Context, subscriptionId: string) {
  const subscription = await fetchSubscription(stripe, subscriptionId);
  const latest = subscription.latest_invoice;
  return { subscription, invoice: latest === null ? null : await fetchInvoice(stripe, latest) };
}

/** @returns null for an invoice without subscription: packs are granted by their Checkout session only */
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
  await applyFacts(context, userId, { ticket, subscription, invoice, session: null }, eventId);
  return userId;
}

/**
 * Everything that a Checkout session led to: the customer's user, the subscription and its invoice, packs.
 * @returns null for a session that is not ours
 */
export async function syncCheckoutSession(
  context: Context,
  sessionId: string,
  eventId?: string,
): Promise<{ userId: string; session: SessionShape } | null> {
  const ticket = await nextFetchTicket(context.pool);
  const session = await fetchSession(context.stripe, sessionId);
  if (session.customer === null && userOfSession(session) === undefined) return null;
  const facts =
    session.subscription === null
      ? { subscription: null, invoice: null }
      : await subscriptionFacts(context, session.subscription);
  const customer = session.customer;
  const userId =
    customer === null ? userOfSession(session) : await userOfCustomer(context, customer, session);
  if (userId === undefined) return null;
  await applyFacts(context, userId, { ticket, ...facts, session }, eventId);
  return { userId, session };
}
