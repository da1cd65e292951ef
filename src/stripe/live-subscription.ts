/** The subscription that a user has in Stripe now, and the frame of every change of it. */
import { createHash } from 'node:crypto';
import type Stripe from 'stripe';
import { z } from 'zod';
import type { Context } from '../context.ts';
import { planOfPrice } from '../domain/plans.ts';
import { TollgateError } from '../errors.ts';
import type { Answer, ChangeRequest } from '../lib/requests.ts';
import { readSubscription, userNow } from '../lib/users.ts';
import { listSubscriptions } from '../store/subscriptions.ts';
import { isMissing } from './client.ts';
import { onceOutside, oneAtATime } from './outside.ts';
import { syncSubscription } from './sync.ts';

/** Statuses of a subscription that still is one: a second beside it would be paid twice. */
export const LIVE_STATUSES = new Set(['trialing', 'active', 'past_due', 'unpaid', 'paused', 'incomplete']);

const ref = z
  .union([z.string(), z.object({ id: z.string() })])
  .transform((value) => (typeof value === 'string' ? value : value.id));

/** What is read of a subscription to change it; times as Stripe's seconds, because they go back to Stripe. */
const liveShape = z.object({
  id: z.string(),
  customer: ref,
  status: z.string(),
  currency: z.string(),
  trial_end: z.int().nullable(),
  cancel_at: z.int().nullable(),
  cancel_at_period_end: z.boolean(),
  latest_invoice: ref.nullable(),
  schedule: ref.nullable(),
  discounts: z.array(ref),
  /** A change that is not live until its invoice is paid. */
  pending_update: z.object({ expires_at: z.int() }).nullable(),
  pause_collection: z.object({ behavior: z.string() }).nullable(),
  items: z.object({
    data: z
      .array(
        z.object({
          id: z.string(),
          quantity: z.int().nullish(),
          current_period_start: z.int(),
          current_period_end: z.int(),
          price: z.object({
            id: z.string(),
            lookup_key: z.string().nullable(),
            unit_amount: z.int().nullable(),
            recurring: z.object({ interval: z.string() }).nullable(),
          }),
        }),
      )
      .min(1),
  }),
});

export interface LiveSubscription extends z.output<typeof liveShape> {
  /** As Stripe gave it. */
  raw: Stripe.Subscription;
}
export type LiveItem = LiveSubscription['items']['data'][number];

/** The item that carries the plan; other items may be on the subscription as well. */
export function planItemOf({ catalogue }: Context, { id, items }: LiveSubscription): LiveItem {
  const known = items.data.find(({ price }) => planOfPrice(catalogue, price.lookup_key) !== undefined);
  const item = known ?? (items.data.length === 1 ? items.data[0] : undefined);
  if (item) return item;
  throw new TollgateError('conflict', `Subscription ${id} has no item with a price of the catalogue.`);
}

/**
 * The current one, else the oldest that is still one, as Stripe has it now.
 * @throws TollgateError `conflict` where there is none
 */
export async function liveSubscription(context: Context, userId: string): Promise<LiveSubscription> {
  const { currentSubscriptionId } = await userNow(context, userId);
  const stored = await listSubscriptions(context.pool, userId);
  const candidates = stored
    .filter(({ id, status }) => id === currentSubscriptionId || LIVE_STATUSES.has(status))
    .sort((a, b) => Number(b.id === currentSubscriptionId) - Number(a.id === currentSubscriptionId));
  for (const { id } of candidates) {
    try {
      const raw = await context.stripe.subscriptions.retrieve(id);
      const found = liveShape.parse(raw);
      if (LIVE_STATUSES.has(found.status)) return { ...found, raw };
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  throw new TollgateError('conflict', 'The user has no subscription in Stripe.');
}

/** Makes the idempotency keys of the calls to Stripe that one request leads to. */
export type KeyOf = (call: string) => Stripe.RequestOptions;

/**
 * Runs a change of the user's subscription once per key and one at a time, and takes over what came of it.
 * @returns 200 with the subscription view and what `change` adds to it
 */
export async function changeSubscription(
  context: Context,
  userId: string,
  request: ChangeRequest,
  change: (live: LiveSubscription, keyOf: KeyOf) => Promise<Record<string, unknown> | undefined>,
): Promise<Answer> {
  await userNow(context, userId);
  return onceOutside(context, userId, request, () =>
    oneAtATime(context, userId, 'change of the subscription', async () => {
      const live = await liveSubscription(context, userId);
      // With the latest invoice: an attempt whose payment failed has made one, and may be repeated after it expired.
      const attempt = shortHash(`${userId} ${request.scope} ${request.key} ${live.latest_invoice}`);
      const keyOf: KeyOf = (call) => ({ idempotencyKey: `tollgate:${call}:${attempt}` });
      try {
        const added = await change(live, keyOf);
        await syncSubscription(context, live.id);
        return { status: 200, body: { ...(await readSubscription(context, userId)), ...added } };
      } catch (error) {
        // Refused after something was done in Stripe: the webhook tells it as well, only later.
        if (error instanceof PaymentAwaitedError) await syncSubscription(context, live.id);
        throw error;
      }
    }),
  );
}

/** Nothing goes on before an invoice is paid; `hostedInvoiceUrl` says where. */
export class PaymentAwaitedError extends TollgateError {}

export async function paymentAwaited(
  { stripe }: Context,
  live: LiveSubscription,
  message: string,
): Promise<PaymentAwaitedError> {
  const invoice = live.latest_invoice === null ? null : await stripe.invoices.retrieve(live.latest_invoice);
  const expires = live.pending_update?.expires_at;
  return new PaymentAwaitedError('conflict', message, {
    members: {
      stripeSubscriptionId: live.id,
      subscriptionStatus: live.status,
      hostedInvoiceUrl: invoice?.hosted_invoice_url ?? null,
      ...(expires === undefined ? {} : { payBefore: new Date(expires * 1000).toISOString() }),
    },
  });
}

export async function reread({ stripe }: Context, { id }: LiveSubscription): Promise<LiveSubscription> {
  const raw = await stripe.subscriptions.retrieve(id);
  return { ...liveShape.parse(raw), raw };
}

/** Fits Stripe's keys and metadata whatever a user id or an Idempotency-Key looks like. */
export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 40);
}
