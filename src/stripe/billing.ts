/** Selling: Checkout for plans and packs. Fulfilment is the webhook's own (sync.ts). */
import type Stripe from 'stripe';
import type { Context } from '../context.ts';
import { creditsOf } from '../domain/plans.ts';
import { invalidField, notFound, TollgateError } from '../errors.ts';
import type { Answer, ChangeRequest } from '../lib/requests.ts';
import { userNow } from '../lib/users.ts';
import { isMissing } from './client.ts';
import { ensureCustomer, userOfSession } from './customers.ts';
import { LIVE_STATUSES, shortHash } from './live-subscription.ts';
import { planLookupKey, priceOnSale } from './offers.ts';
import { onceOutside, oneAtATime } from './outside.ts';
import { parseSession, USER_METADATA } from './shapes.ts';
import { syncCheckoutSession } from './sync.ts';

export { type CancelInput, cancelSubscription, resumeSubscription } from './cancel.ts';
export { createPortalSession, type PortalInput } from './portal.ts';

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
  const { id: price } = await priceOnSale(context, lookupKey);
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
  return planLookupKey(catalogue, plan ?? '', interval);
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
  const live = data.find(({ status }) => LIVE_STATUSES.has(status));
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
