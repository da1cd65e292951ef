import { DAY } from '../calendar.ts';
import type { Invoice, InvoiceLine, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { discountsFor, endDiscounts } from './discounts.ts';
import { lineOfItem, pendingFor } from './invoice-items.ts';
import { buildInvoice } from './invoice-object.ts';
import { announceDraft, openDraft } from './invoicing.ts';
import { periodLine } from './lines.ts';
import { shapeOf } from './subscription-next.ts';
import { periodOf } from './subscription-object.ts';
import { periodEnd, planCycle, upcomingNoticeDue } from './subscription-times.ts';
import { trialGoesOn } from './trial-end.ts';

const RENEWS = ['active', 'trialing', 'past_due', 'unpaid'];

/** The item in its next period. */
export function renewed(subscription: Subscription, item: SubscriptionItem): SubscriptionItem {
  const period = periodOf(item.price, subscription.billing_cycle_anchor, item.current_period_end, null);
  return { ...item, current_period_start: period.start, current_period_end: period.end };
}

/** What waits for a subscription's next invoice, and the next period of the items. */
export function cycleLines(
  world: World,
  subscription: Subscription,
  items: readonly SubscriptionItem[],
): (invoice: string) => InvoiceLine[] {
  const pending = pendingFor(world, subscription.customer, subscription.id);
  return (invoice) => [
    ...pending.map((item) => lineOfItem(invoice, item)),
    ...items.map((item) => periodLine(world, invoice, subscription, item, 'full')),
  ];
}

/** What falls due on a subscription by its own clock: a paused collection goes on, notices, the next period. */
export function visitSubscription(world: World, subscription: Subscription): void {
  const now = world.now();
  const pause = subscription.pause_collection;
  if (pause?.resumes_at != null && pause.resumes_at <= now)
    world.update('customer.subscription.updated', subscription, { pause_collection: null });
  if (upcomingNoticeDue(subscription, now)) announceUpcoming(world, subscription);
  renewSubscription(world, subscription);
}

/** `invoice.upcoming` carries a preview, without an id (stripe.md A2). */
function announceUpcoming(world: World, subscription: Subscription): void {
  if (!RENEWS.includes(subscription.status) || subscription.ended_at !== null) return;
  if (subscription.cancel_at !== null && subscription.cancel_at <= periodEnd(subscription)) return;
  const invoice = upcomingInvoice(world, subscription);
  if (invoice !== null) world.emit('invoice.upcoming', { ...invoice, id: undefined });
}

export function upcomingInvoice(world: World, subscription: Subscription): Invoice | null {
  const customer = world.state.customers.get(subscription.customer);
  if (customer === undefined) return null;
  const end = periodEnd(subscription);
  const due = subscription.items.data.filter((item) => item.current_period_end === end);
  const { invoice } = buildInvoice(world, {
    customer,
    subscription,
    reason: 'upcoming',
    lines: cycleLines(
      world,
      subscription,
      due.map((item) => renewed(subscription, item)),
    ),
    currency: subscription.currency,
    periodStart: Math.min(...due.map((item) => item.current_period_start)),
    periodEnd: end,
    autoAdvance: false,
    discounts: discountsFor(world, customer, subscription),
  });
  return { ...invoice, created: end, next_payment_attempt: end + DAY / 24 };
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
  endDiscounts(world, subscription);
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
  const data = subscription.items.data.map((item) =>
    due.includes(item) ? renewed(subscription, item) : item,
  );
  const moved = data.filter((item) => due.some((old) => old.id === item.id));
  const collect = subscription.status !== 'unpaid';
  const pending = pendingFor(world, customer.id, subscription.id);
  const invoice = openDraft(world, {
    customer,
    subscription,
    reason: 'subscription_cycle',
    lines: cycleLines(world, subscription, moved),
    currency: subscription.currency,
    periodStart: Math.min(...due.map((item) => item.current_period_start)),
    periodEnd: Math.min(...moved.map((item) => item.current_period_start)),
    // An unpaid subscription's invoices stay drafts until the debt is settled (stripe.md B3).
    autoAdvance: collect && subscription.pause_collection?.behavior !== 'keep_as_draft',
    discounts: discountsFor(world, customer, subscription),
  });
  for (const item of pending) item.invoice = invoice.id;
  world.update('customer.subscription.updated', subscription, {
    ...shapeOf(subscription, data),
    latest_invoice: invoice.id,
    ...(trialEnds ? { status: 'active' as const } : {}),
  });
  announceDraft(world, invoice);
}
