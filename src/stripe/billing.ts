/** What the billing routes do: checkout, portal, cancel, resume. Fulfilment is the webhook's own (sync.ts). */
import { createHash } from 'node:crypto';
import type Stripe from 'stripe';
import type { Context } from '../context.ts';
import { creditsOf } from '../domain/plans.ts';
import { invalidField, notFound, TollgateError } from '../errors.ts';
import type { Answer, ChangeRequest } from '../lib/requests.ts';
import { readSubscription, userNow } from '../lib/users.ts';
import { listSubscriptions } from '../store/subscriptions.ts';
import { isMissing } from './client.ts';
import { ensureCustomer, userOfSession } from './customers.ts';
import { onceOutside, oneAtATime } from './outside.ts';
import { priceOnSale } from './prices.ts';
import { parseSession, parseSubscription, type SubscriptionShape, USER_METADATA } from './shapes.ts';
import { syncCheckoutSession, syncSubscription } from './sync.ts';

export { createPortalSession, type PortalInput } from './portal.ts';

/** Statuses of a subscription that still is one: a second beside it would be paid twice. */
const LIVE = new Set(['trialing', 'active', 'past_due', 'unpaid', 'paused', 'incomplete']);

export interface CheckoutInput {
  userId: string;
  plan?: string | undefined;
  pack?: string | undefined;
  interval?: 'month' | 'year' | undefined;
  successUrl?: string | undefined;
  cancelUrl?: string | undefined;
}

/**
 * A Checkout session for a plan or a pack (https://docs.stripe.com/api/checkout/sessions/create).
 * @returns 201 `{sessionId, url}`
 * @throws TollgateError `invalid_request` naming the field, `conflict` where the user has a live subscription
 */
export async function createCheckout(
  context: Context,
  input: CheckoutInput,
  request: ChangeRequest,
): Promise<Answer> {
  const lookupKey = lookupKeyOf(context, input);
  await userNow(context, input.userId);
  return onceOutside(context, input.userId, request, () =>
    // Two that run at once would not see each other's session, and both could be paid.
    oneAtATime(context, input.userId, 'checkout', () => openSession(context, input, lookupKey, request)),
  );
}

async function openSession(
  context: Context,
  input: CheckoutInput,
  lookupKey: string,
  request: ChangeRequest,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const customer = await ensureCustomer(context, input.userId);
  const price = await priceOnSale(context, lookupKey);
  const attempt = shortHash(`${request.scope} ${request.key}`);
  if (input.plan !== undefined) {
    await refuseSecondSubscription(context, customer);
    await expireOpenSessions(context, customer, attempt);
  }
  const session = await context.stripe.checkout.sessions.create(
    sessionParams(context, input, { customer, price, attempt }),
    { idempotencyKey: `tollgate:checkout:${shortHash(input.userId)}:${attempt}` },
  );
  return { status: 201, body: { sessionId: session.id, url: session.url } };
}

function lookupKeyOf({ catalogue }: Context, { plan, pack, interval }: CheckoutInput): string {
  if ((plan === undefined) === (pack === undefined)) {
    throw invalidField('plan', 'give exactly one of plan and pack');
  }
  if (pack !== undefined) {
    const offer = Object.hasOwn(catalogue.packs, pack) ? catalogue.packs[pack] : undefined;
    if (offer) return offer.price;
    throw invalidField('pack', `unknown; one of ${Object.keys(catalogue.packs).join(', ')}`);
  }
  const definition = Object.hasOwn(catalogue.plans, plan ?? '') ? catalogue.plans[plan ?? ''] : undefined;
  if (!definition) throw invalidField('plan', `unknown; one of ${Object.keys(catalogue.plans).join(', ')}`);
  const { monthly, annual } = definition.prices;
  if (monthly === undefined && annual === undefined)
    throw invalidField('plan', 'is not on sale: it has no price');
  const price = interval === 'year' ? annual : interval === 'month' ? monthly : (monthly ?? annual);
  if (price === undefined) throw invalidField('interval', `${plan} has no price for a ${interval}`);
  return price;
}

function sessionParams(
  { config }: Context,
  input: CheckoutInput,
  { customer, price, attempt }: { customer: string; price: string; attempt: string },
): Stripe.Checkout.SessionCreateParams {
  const metadata = { [USER_METADATA]: input.userId, tollgate_attempt: attempt };
  const base = {
    customer,
    // Stripe's limit for it; the metadata names the user in any case.
    ...(input.userId.length <= 200 ? { client_reference_id: input.userId } : {}),
    line_items: [{ price, quantity: 1 }],
    metadata,
    success_url:
      input.successUrl ?? `${config.publicUrl}/docs/?checkout=success&session_id={CHECKOUT_SESSION_ID}`,
    cancel_url: input.cancelUrl ?? `${config.publicUrl}/docs/?checkout=cancelled`,
  };
  const own = { [USER_METADATA]: input.userId };
  return input.plan === undefined
    ? { ...base, mode: 'payment', payment_intent_data: { metadata: own } }
    : { ...base, mode: 'subscription', subscription_data: { metadata: own } };
}

/** Asked of Stripe and not of our rows: what a webhook has yet to tell would be bought twice. */
async function refuseSecondSubscription({ stripe }: Context, customer: string): Promise<void> {
  const { data } = await stripe.subscriptions.list({ customer, status: 'all', limit: 100 });
  const live = data.find(({ status }) => LIVE.has(status));
  if (!live) return;
  const advice =
    live.status === 'active' || live.status === 'trialing'
      ? 'change it instead of buying a second one'
      : 'its open invoice wants to be paid; the billing portal leads there';
  throw new TollgateError('conflict', `The user has a subscription that is ${live.status}: ${advice}.`, {
    members: { stripeSubscriptionId: live.id, subscriptionStatus: live.status },
  });
}

/**
 * Two open sessions could both be completed. The one of this very attempt stays: Stripe's idempotency key returns it
 * where our process died after making it.
 */
async function expireOpenSessions({ stripe }: Context, customer: string, attempt: string): Promise<void> {
  for await (const session of stripe.checkout.sessions.list({ customer, status: 'open', limit: 100 })) {
    if (session.mode !== 'subscription' || session.metadata?.tollgate_attempt === attempt) continue;
    await stripe.checkout.sessions.expire(session.id);
  }
}

/**
 * The success page's call: the same fulfilment as the webhook, so it does not matter which comes first.
 * @returns 200 `{status, paymentStatus, userId, plan, credits, availableTokens}`
 * @throws TollgateError `not_found` for a session that is not ours
 */
export async function confirmCheckout(
  context: Context,
  sessionId: string,
  _request: ChangeRequest,
): Promise<Answer> {
  const named = userOfSession(parseSession(await retrieveSession(context, sessionId)));
  const synced = named === undefined ? null : await syncCheckoutSession(context, sessionId);
  if (!synced || synced.userId !== named) throw notFound('checkout session');
  const user = await userNow(context, synced.userId);
  const body = {
    status: synced.session.status,
    paymentStatus: synced.session.payment_status,
    userId: user.id,
    plan: user.subscriptionTier,
    credits: creditsOf(user.availableTokens),
    availableTokens: user.availableTokens,
  };
  return { status: 200, body, replayed: false };
}

async function retrieveSession({ stripe }: Context, sessionId: string): Promise<unknown> {
  try {
    return await stripe.checkout.sessions.retrieve(sessionId);
  } catch (error) {
    if (isMissing(error)) throw notFound('checkout session');
    throw error;
  }
}

export interface CancelInput {
  userId: string;
  effective: 'now' | 'period_end';
}

/**
 * Ends the user's subscription in Stripe and here: at once, or with what has been paid for.
 * @returns 200 with the subscription view
 * @throws TollgateError `conflict` where there is none to cancel
 */
export function cancelSubscription(
  context: Context,
  { userId, effective }: CancelInput,
  request: ChangeRequest,
): Promise<Answer> {
  return changeSubscription(context, userId, request, async (live, options) => {
    if (effective === 'now') await context.stripe.subscriptions.cancel(live.id, {}, options);
    else await context.stripe.subscriptions.update(live.id, { cancel_at_period_end: true }, options);
  });
}

/**
 * Takes back a cancellation that is still to come. The Portal sets `cancel_at` alone, the API both (stripe.md A1).
 * @throws TollgateError `conflict` where there is nothing to take back
 */
export function resumeSubscription(
  context: Context,
  { userId }: { userId: string },
  request: ChangeRequest,
): Promise<Answer> {
  return changeSubscription(context, userId, request, async (live, options) => {
    const { stripe } = context;
    if (live.cancel_at_period_end) {
      await stripe.subscriptions.update(live.id, { cancel_at_period_end: false }, options);
    } else if (live.cancel_at !== null) {
      await stripe.subscriptions.update(live.id, { cancel_at: '' }, options);
    } else {
      throw new TollgateError('conflict', 'The subscription has no pending cancellation to take back.');
    }
  });
}

async function changeSubscription(
  context: Context,
  userId: string,
  request: ChangeRequest,
  change: (live: SubscriptionShape, options: Stripe.RequestOptions) => Promise<void>,
): Promise<Answer> {
  await userNow(context, userId);
  return onceOutside(context, userId, request, async () => {
    const live = await liveSubscription(context, userId);
    const attempt = shortHash(`${userId} ${request.scope} ${request.key}`);
    await change(live, { idempotencyKey: `tollgate:change:${attempt}` });
    await syncSubscription(context, live.id);
    return { status: 200, body: await readSubscription(context, userId) };
  });
}

/** The current one, else the oldest that is still one, as Stripe has it now. */
async function liveSubscription(context: Context, userId: string): Promise<SubscriptionShape> {
  const { currentSubscriptionId } = await userNow(context, userId);
  const stored = await listSubscriptions(context.pool, userId);
  const candidates = stored
    .filter(({ id, status }) => id === currentSubscriptionId || LIVE.has(status))
    .sort((a, b) => Number(b.id === currentSubscriptionId) - Number(a.id === currentSubscriptionId));
  for (const { id } of candidates) {
    try {
      const found = parseSubscription(await context.stripe.subscriptions.retrieve(id));
      if (LIVE.has(found.status)) return found;
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  throw new TollgateError('conflict', 'The user has no subscription in Stripe.');
}

/** Fits Stripe's keys and metadata whatever a user id or an Idempotency-Key looks like. */
function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 40);
}
