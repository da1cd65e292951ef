import type { InvoiceLine, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { announceDraft, openDraft } from './invoicing.ts';
import { periodLine } from './lines.ts';
import { payingMethod } from './payments.ts';
import { planCycle } from './subscription-create.ts';
import { endSubscription } from './subscription-end.ts';
import { periodOf } from './subscription-object.ts';

const RENEWS = ['active', 'trialing', 'past_due', 'unpaid'];

/** The prorations that have waited for this invoice. */
export function takePendingLines(
  world: World,
  subscription: Subscription,
): ((invoice: string) => InvoiceLine)[] {
  const { pendingLines } = world.state;
  const own = pendingLines.filter((pending) => pending.subscription === subscription.id);
  pendingLines.splice(0, pendingLines.length, ...pendingLines.filter((pending) => !own.includes(pending)));
  return own.map((pending) => pending.build);
}

/**
 * At a period's end the items move on at once and a draft invoice appears; the money is collected an hour
 * later, so for that hour the new period runs unpaid (https://docs.stripe.com/billing/subscriptions/webhooks).
 */
export function renewSubscription(world: World, subscription: Subscription): void {
  const now = world.now();
  const due = subscription.items.data.filter((item) => item.current_period_end <= now);
  if (due.length === 0 || !RENEWS.includes(subscription.status)) return;
  if (subscription.cancel_at !== null && subscription.cancel_at <= now) return;
  const trialEnds = subscription.status === 'trialing' && subscription.trial_end !== null;
  if (trialEnds && !trialGoesOn(world, subscription)) return;
  cycleInvoice(world, subscription, due, trialEnds);
  planCycle(world, subscription);
}

function cycleInvoice(
  world: World,
  subscription: Subscription,
  due: SubscriptionItem[],
  trialEnds: boolean,
): void {
  const customer = world.state.customers.get(subscription.customer);
  if (customer === undefined) return;
  const before = Math.min(...due.map((item) => item.current_period_start));
  const data = subscription.items.data.map((item) => {
    if (!due.includes(item)) return item;
    const period = periodOf(item.price, subscription.billing_cycle_anchor, item.current_period_end, null);
    return { ...item, current_period_start: period.start, current_period_end: period.end };
  });
  const renewed = data.filter((item) => due.some((old) => old.id === item.id));
  const pending = takePendingLines(world, subscription);
  const collect = subscription.status !== 'unpaid';
  const invoice = openDraft(world, {
    customer,
    subscription,
    reason: 'subscription_cycle',
    lines: (id) => [
      ...pending.map((build) => build(id)),
      ...renewed.map((item) => periodLine(world, id, subscription, item, false)),
    ],
    currency: subscription.currency,
    periodStart: before,
    periodEnd: Math.min(...renewed.map((item) => item.current_period_start)),
    // An unpaid subscription's invoices stay drafts until the debt is settled (stripe.md B3).
    autoAdvance: collect && subscription.pause_collection?.behavior !== 'keep_as_draft',
    discounts: subscription.discounts.filter((id) => stillApplies(world, id)),
  });
  world.update('customer.subscription.updated', subscription, {
    items: { ...subscription.items, data },
    latest_invoice: invoice.id,
    ...(trialEnds ? { status: 'active' as const } : {}),
  });
  announceDraft(world, invoice);
}

/** A `once` coupon was used up by the first invoice, a `repeating` one ends on its day. */
function stillApplies(world: World, discountId: string): boolean {
  const discount = world.state.discounts.get(discountId);
  const coupon = world.state.coupons.get(discount?.source.coupon ?? '');
  if (discount === undefined || coupon?.duration === 'once') return false;
  return discount.end === null || discount.end > world.now();
}

/** Without a way to pay, a trial ends as its settings say. */
function trialGoesOn(world: World, subscription: Subscription): boolean {
  const method = payingMethod(world, subscription.customer, subscription.default_payment_method);
  const behavior = subscription.trial_settings?.end_behavior.missing_payment_method;
  if (method !== null || behavior === 'create_invoice' || behavior === undefined) return true;
  if (behavior === 'cancel') {
    endSubscription(world, subscription, null);
    return false;
  }
  world.update('customer.subscription.updated', subscription, {
    status: 'paused',
    status_details: { paused: { subscription: { type: 'trial_end_without_payment_method' } } },
  } as Partial<Subscription>);
  world.emit('customer.subscription.paused', subscription);
  return false;
}
