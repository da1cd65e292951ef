/** Ending a subscription, and taking back what was to come: a cancellation, a pause, a later change of plan. */
import type Stripe from 'stripe';
import type { Context } from '../context.ts';
import { TollgateError } from '../errors.ts';
import type { Answer, ChangeRequest } from '../lib/requests.ts';
import {
  changeSubscription,
  type KeyOf,
  type LiveSubscription,
  paymentAwaited,
  planItemOf,
  reread,
} from './live-subscription.ts';
import { pendingChangeOf, releaseSchedule } from './schedule.ts';

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
  return changeSubscription(context, userId, request, async (live, keyOf) => {
    await cancelLive(context, live, effective, keyOf);
    return undefined;
  });
}

/** Unused time is not paid back: what was paid for is kept until the period's end, or given up. */
export async function cancelLive(
  context: Context,
  live: LiveSubscription,
  effective: CancelInput['effective'],
  keyOf: KeyOf,
): Promise<void> {
  const { subscriptions } = context.stripe;
  await releaseSchedule(context, live);
  if (effective === 'now') await subscriptions.cancel(live.id, {}, keyOf('cancel'));
  else await subscriptions.update(live.id, { cancel_at_period_end: true }, keyOf('cancel'));
}

/**
 * Takes back what is still to come (a cancellation, a change of plan at the period's end) and ends a pause of either
 * kind. What a paused subscription owes for its new period is paid first.
 * @throws TollgateError `conflict` where there is nothing to take back, or where the payment fails
 */
export function resumeSubscription(
  context: Context,
  { userId }: { userId: string },
  request: ChangeRequest,
): Promise<Answer> {
  return changeSubscription(context, userId, request, async (live, keyOf) => {
    const took = await takeBack(context, live, keyOf);
    const resumed = live.status === 'paused' && (await resumePaused(context, live, keyOf));
    if (took || resumed) return undefined;
    throw new TollgateError(
      'conflict',
      'The subscription has no pending change, cancellation or pause to end.',
    );
  });
}

/** @returns whether there was something to take back */
export async function takeBack(context: Context, live: LiveSubscription, keyOf: KeyOf): Promise<boolean> {
  const pending = await pendingChangeOf(context, live, planItemOf(context, live));
  if (pending) await releaseSchedule(context, live);
  const params: Stripe.SubscriptionUpdateParams = {
    ...(live.pause_collection === null ? {} : { pause_collection: '' }),
    ...endTakenBack(live),
  };
  if (Object.keys(params).length === 0) return pending !== null;
  await context.stripe.subscriptions.update(live.id, params, keyOf('resume'));
  return true;
}

/** The Portal sets `cancel_at` alone, the API both (stripe.md A1). */
function endTakenBack(live: LiveSubscription): Stripe.SubscriptionUpdateParams {
  if (live.cancel_at_period_end) return { cancel_at_period_end: false };
  return live.cancel_at === null ? {} : { cancel_at: '' };
}

/** From status `paused`: a new period begins with its payment (https://docs.stripe.com/api/subscriptions/resume). */
async function resumePaused(context: Context, live: LiveSubscription, keyOf: KeyOf): Promise<boolean> {
  await context.stripe.subscriptions.resume(
    live.id,
    { billing_cycle_anchor: { type: 'now' }, payment_behavior: 'resume_on_payment_success' },
    keyOf('resume-paused'),
  );
  const now = await reread(context, live);
  if (now.status !== 'paused') return true;
  const message = 'The subscription goes on when its invoice is paid; hostedInvoiceUrl leads there.';
  throw await paymentAwaited(context, now, message);
}
