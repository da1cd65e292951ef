/**
 * Changes of plan through our API (docs/credits.md, "Changing the plan"). What a request means is decided once, here, by
 * Stripe's present state; the change itself and its preview both start from that decision.
 */
import type Stripe from 'stripe';
import type { Context } from '../context.ts';
import { isUpgrade, type PlanOffer } from '../domain/plan-changes.ts';
import { FREE_PLAN, planDefinition, planOfPrice } from '../domain/plans.ts';
import { TollgateError } from '../errors.ts';
import type { Answer, ChangeRequest } from '../lib/requests.ts';
import { cancelLive, takeBack } from './cancel.ts';
import {
  changeSubscription,
  type KeyOf,
  LIVE_STATUSES,
  type LiveItem,
  type LiveSubscription,
  paymentAwaited,
  planItemOf,
  reread,
} from './live-subscription.ts';
import { planLookupKey, priceOnSale } from './offers.ts';
import { type PendingChange, pendingChangeOf, releaseSchedule, scheduleChange } from './schedule.ts';

export type Effective = 'now' | 'period_end';

export interface PlanChangeInput {
  userId: string;
  plan: string;
  /** Without it the present one, if the plan has a price for it. */
  interval?: 'month' | 'year' | undefined;
  /** Without it the present one. */
  quantity?: number | undefined;
  /** Without it: now for an upgrade, at the period's end for all else. */
  effective?: Effective | undefined;
}

export interface Target extends PlanOffer {
  price: Stripe.Price;
}

/** What a request comes to. */
export type PlanChange =
  | { kind: 'change'; effective: Effective; item: LiveItem; target: Target }
  | { kind: 'cancel'; effective: Effective }
  /** Back to the present plan: what was to come is taken back. */
  | { kind: 'take_back' };

/**
 * Changes plan, interval or quantity of the user's subscription.
 * @returns 200 with the subscription view and `pendingChange`, what is to come at the period's end
 * @throws TollgateError `invalid_request` naming the field; `conflict` where there is no subscription, where another
 *   change is to come, and where a payment is due first (with `hostedInvoiceUrl`)
 */
export async function changePlan(
  context: Context,
  input: PlanChangeInput,
  request: ChangeRequest,
): Promise<Answer> {
  refuseUnsellable(context, input);
  return changeSubscription(context, input.userId, request, async (live, keyOf) => {
    const change = await decideChange(context, live, input);
    await perform(context, live, change, keyOf);
    return { pendingChange: await pendingAfter(context, live) };
  });
}

/** Needs no subscription to be known: a plan that nobody sells is the caller's mistake. */
export function refuseUnsellable({ catalogue }: Context, { plan, interval }: PlanChangeInput): void {
  if (plan !== FREE_PLAN) planLookupKey(catalogue, plan, interval);
}

/** @throws TollgateError `conflict` */
export async function decideChange(
  context: Context,
  live: LiveSubscription,
  input: PlanChangeInput,
): Promise<PlanChange> {
  if (input.plan === FREE_PLAN) return { kind: 'cancel', effective: input.effective ?? 'period_end' };
  await refuseUnsettled(context, live);
  const item = planItemOf(context, live);
  const present = presentOffer(context, live, item);
  const target = await targetOf(context, input, present);
  const pending = await pendingChangeOf(context, live, item);
  const ends = live.cancel_at_period_end || live.cancel_at !== null;
  if (target.price.id === item.price.id && target.quantity === present.quantity) {
    if (pending || ends) return { kind: 'take_back' };
    throw new TollgateError('conflict', `The subscription is on ${describe(target)} already.`);
  }
  if (pending) {
    const message = `A change to ${pending.plan ?? 'another price'} on ${pending.effectiveAt} is to come: take it back first, by resume or by a change to the present plan.`;
    throw new TollgateError('conflict', message, { members: { pendingChange: publicOf(pending) } });
  }
  if (ends) {
    throw new TollgateError('conflict', 'The subscription is to end: resume it first, then change it.');
  }
  const effective = input.effective ?? (isUpgrade(present, target) ? 'now' : 'period_end');
  return { kind: 'change', effective, item, target };
}

/** States in which a change would be paid for twice, or not at all. */
async function refuseUnsettled(context: Context, live: LiveSubscription): Promise<void> {
  const { status } = live;
  if (live.pending_update !== null) {
    throw await paymentAwaited(context, live, 'A change awaits its payment: hostedInvoiceUrl leads there.');
  }
  if (status === 'paused' || live.pause_collection !== null) {
    throw new TollgateError('conflict', 'The subscription is paused: resume it first, then change it.');
  }
  if (status !== 'active' && status !== 'trialing') {
    const message = `The subscription is ${status}: pay its open invoice first (hostedInvoiceUrl), then change it.`;
    throw await paymentAwaited(context, live, message);
  }
}

function presentOffer({ catalogue }: Context, live: LiveSubscription, item: LiveItem): PlanOffer {
  const known = planOfPrice(catalogue, item.price.lookup_key);
  return {
    plan: known?.plan ?? live.id,
    interval: item.price.recurring?.interval === 'year' ? 'year' : 'month',
    quantity: item.quantity ?? 1,
    creditsPerPeriod: known?.definition.creditsPerPeriod ?? 0,
    amountMinor: item.price.unit_amount,
  };
}

async function targetOf(context: Context, input: PlanChangeInput, present: PlanOffer): Promise<Target> {
  const { catalogue } = context;
  const { creditsPerPeriod, prices } = planDefinition(catalogue, input.plan);
  const hasPresent = (present.interval === 'year' ? prices.annual : prices.monthly) !== undefined;
  const interval = input.interval ?? (hasPresent ? present.interval : undefined);
  const price = await priceOnSale(context, planLookupKey(catalogue, input.plan, interval));
  return {
    price,
    plan: input.plan,
    interval: price.recurring?.interval === 'year' ? 'year' : 'month',
    quantity: input.quantity ?? present.quantity,
    creditsPerPeriod,
    amountMinor: price.unit_amount,
  };
}

function describe({ plan, interval, quantity }: PlanOffer): string {
  return `${quantity > 1 ? `${quantity} × ` : ''}${plan} by the ${interval}`;
}

/**
 * What a change at once says to Stripe, the preview included: the difference is invoiced now, so that nothing is left
 * to surprise at the renewal.
 */
export function updateParams(item: LiveItem, { price, quantity }: Target) {
  return {
    items: [{ id: item.id, price: price.id, quantity }],
    proration_behavior: 'always_invoice',
  } satisfies Stripe.SubscriptionUpdateParams;
}

async function perform(
  context: Context,
  live: LiveSubscription,
  change: PlanChange,
  keyOf: KeyOf,
): Promise<void> {
  if (change.kind === 'cancel') return cancelLive(context, live, change.effective, keyOf);
  if (change.kind === 'take_back') return void (await takeBack(context, live, keyOf));
  const { item, target } = change;
  if (change.effective === 'period_end') {
    const { interval, quantity, price } = target;
    return scheduleChange(context, live, item, { priceId: price.id, quantity, interval }, keyOf);
  }
  await releaseSchedule(context, live);
  await context.stripe.subscriptions.update(
    live.id,
    { ...updateParams(item, target), payment_behavior: 'pending_if_incomplete' },
    keyOf('change'),
  );
  const now = await reread(context, live);
  if (now.pending_update === null) return;
  const message = 'The change takes effect when its invoice is paid; hostedInvoiceUrl leads there.';
  throw await paymentAwaited(context, now, message);
}

/** What is to come now, for the answer. */
async function pendingAfter(context: Context, before: LiveSubscription): Promise<PendingChange | null> {
  const live = await reread(context, before);
  if (!LIVE_STATUSES.has(live.status)) return null;
  if (live.cancel_at !== null) {
    const effectiveAt = new Date(live.cancel_at * 1000).toISOString();
    return { plan: FREE_PLAN, interval: null, quantity: 1, effectiveAt };
  }
  const pending = await pendingChangeOf(context, live, planItemOf(context, live));
  return pending && publicOf(pending);
}

function publicOf({ plan, interval, quantity, effectiveAt }: PendingChange): PendingChange {
  return { plan, interval, quantity, effectiveAt };
}
