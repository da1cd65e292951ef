import { DAY, HOUR } from '../calendar.ts';
import { invalid } from '../errors.ts';
import { newId } from '../ids.ts';
import type { PaymentOutcome } from '../state.ts';
import type { Invoice, Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { createDiscount } from './discounts.ts';
import { announceDraft, attemptInvoice, finalizeInvoice, openDraft } from './invoicing.ts';
import { oneTimeLine, periodLine } from './lines.ts';
import { cardError, payingMethod } from './payments.ts';
import {
  buildItem,
  buildSubscription,
  type NewItem,
  type NewSubscription,
  periodOf,
} from './subscription-object.ts';

const INCOMPLETE_HOURS = 23;
const TRIAL_NOTICE_DAYS = 3;

function checkPrices(items: readonly NewItem[]): void {
  for (const { price } of items) {
    if (price.recurring === null)
      throw invalid(
        `The price specified is set to \`type=one_time\` but this field only accepts prices with \`type=recurring\`.`,
        { param: 'items[0][price]' },
      );
    if (price.currency !== items[0]?.price.currency)
      throw invalid('All prices on a subscription must have the same currency.', { param: 'items' });
  }
}

export function planCycle(world: World, subscription: Subscription): void {
  const ends = subscription.items.data.map((item) => item.current_period_end);
  world.scheduler.plan('subscription_renews', Math.min(...ends), subscription.id);
}

/** The instant a flexible subscription that cancels at its period end really ends (stripe.md A1). */
export function periodEnd(subscription: Subscription): number {
  return Math.min(...subscription.items.data.map((item) => item.current_period_end));
}

export function planTrialNotice(world: World, subscription: Subscription): void {
  if (subscription.trial_end === null) return;
  const notice = subscription.trial_end - TRIAL_NOTICE_DAYS * DAY;
  world.scheduler.plan('trial_will_end', Math.max(notice, world.now()), subscription.id);
}

/** A subscription with its first invoice, collected as the payment behaviour says. */
export function createSubscription(
  world: World,
  request: NewSubscription,
): { subscription: Subscription; invoice: Invoice; outcome: PaymentOutcome | 'no_method' } {
  checkPrices(request.items);
  const id = newId('sub');
  const now = world.now();
  const { trialEnd, customer } = request;
  const anchor = trialEnd ?? request.billingCycleAnchor ?? now;
  const items = request.items.map((item) =>
    buildItem(world, id, item, periodOf(item.price, anchor, now, trialEnd)),
  );
  const subscription = buildSubscription(world, request, id, items, anchor);
  const automatic = subscription.collection_method === 'charge_automatically';
  const method = payingMethod(world, customer.id, request.defaultPaymentMethod);
  if (automatic && trialEnd === null && method === null && request.paymentBehavior !== 'default_incomplete')
    throw cardError(null, 'no_method');
  subscription.discounts = request.coupons.map(
    (coupon) =>
      createDiscount(world, coupon, { customer: customer.id, subscription: id, checkoutSession: null }).id,
  );
  if (request.cancelAt !== null) setCancelAt(world, subscription, request.cancelAt);
  const invoice = openDraft(world, {
    customer,
    subscription,
    reason: 'subscription_create',
    lines: (invoiceId) => [
      ...items.map((item) => periodLine(world, invoiceId, subscription, item, trialEnd !== null)),
      ...(request.extras ?? []).map((extra) =>
        oneTimeLine(world, invoiceId, {
          ...extra,
          amount: (extra.price.unit_amount ?? 0) * extra.quantity,
          description: null,
          metadata: {},
        }),
      ),
    ],
    currency: subscription.currency,
    periodStart: now,
    periodEnd: now,
    autoAdvance: false,
    discounts: subscription.discounts,
  });
  subscription.latest_invoice = invoice.id;
  world.state.subscriptions.set(id, subscription);
  world.emit('customer.subscription.created', subscription);
  announceDraft(world, invoice);
  finalizeInvoice(world, invoice);
  planCycle(world, subscription);
  planTrialNotice(world, subscription);
  const outcome = collectFirst(world, subscription, invoice, request);
  return { subscription, invoice, outcome };
}

function collectFirst(
  world: World,
  subscription: Subscription,
  invoice: Invoice,
  request: NewSubscription,
): PaymentOutcome | 'no_method' {
  const automatic = subscription.collection_method === 'charge_automatically';
  if (!automatic) world.update('customer.subscription.updated', subscription, { status: 'active' });
  if (invoice.status !== 'open' || !automatic) return 'succeeds';
  world.scheduler.plan('incomplete_expires', world.now() + INCOMPLETE_HOURS * HOUR, subscription.id);
  if (request.paymentBehavior === 'default_incomplete') return 'requires_action';
  const { outcome, intent } = attemptInvoice(world, invoice, {
    onSession: request.onSession,
    ...(request.outcome === undefined ? {} : { outcome: request.outcome }),
  });
  if (outcome !== 'succeeds' && request.paymentBehavior === 'error_if_incomplete') {
    discard(world, subscription, invoice);
    throw cardError(intent, outcome);
  }
  return outcome;
}

/** error_if_incomplete leaves nothing behind that a client could find. */
function discard(world: World, subscription: Subscription, invoice: Invoice): void {
  world.state.subscriptions.delete(subscription.id);
  world.state.invoices.delete(invoice.id);
  for (const event of world.state.events.values()) {
    const object = event.data.object;
    if ('id' in object && (object.id === subscription.id || object.id === invoice.id))
      world.state.events.delete(event.id);
  }
}

/** The API's cancel_at_period_end sets three fields on a flexible subscription, cancel_at one of them [recordings]. */
export function setCancelAt(
  world: World,
  subscription: Subscription,
  at: number | 'period_end' | null,
): void {
  const details = subscription.cancellation_details;
  Object.assign(subscription, {
    cancel_at_period_end: at === 'period_end',
    cancel_at: at === 'period_end' ? periodEnd(subscription) : at,
    canceled_at: at === null ? null : world.now(),
    cancellation_details: {
      comment: details?.comment ?? null,
      feedback: details?.feedback ?? null,
      feedback_option: null,
      reason: at === null ? null : 'cancellation_requested',
    },
  } satisfies Partial<Subscription>);
  if (subscription.cancel_at !== null)
    world.scheduler.plan('subscription_ends', subscription.cancel_at, subscription.id);
}
