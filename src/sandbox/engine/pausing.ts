import { invalid } from '../errors.ts';
import type { Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { discountsFor } from './discounts.ts';
import { lineOfItem, pendingFor, storeInvoiceItem } from './invoice-items.ts';
import { announceDraft, attemptInvoice, finalizeInvoice, openDraft } from './invoicing.ts';
import { periodLine } from './lines.ts';
import { pauseNow } from './pause-now.ts';
import { remainingTime, unusedTime } from './proration.ts';
import { type ProrationBehavior, shapeOf } from './subscription-next.ts';
import { periodOf } from './subscription-object.ts';
import { PAYMENT_WINDOW, planCycle } from './subscription-times.ts';
import { invoicePending } from './subscription-update.ts';

export interface PauseRequest {
  unusedTimeFrom: 'now' | 'item_current_period_start' | 'none';
  invoicingBehavior: 'invoice' | 'pending_invoice_item';
}

const PAUSABLE = ['active', 'trialing', 'past_due', 'unpaid'];

/** status=paused: no invoices, and by default credit for the time that was paid and is not used (stripe.md A1). */
export function pauseSubscription(world: World, subscription: Subscription, request: PauseRequest): void {
  if (!PAUSABLE.includes(subscription.status))
    throw invalid(
      `You cannot pause a subscription with status \`${subscription.status}\`. Only active subscriptions can be paused.`,
      { code: 'subscription_not_pausable' },
    );
  if (request.unusedTimeFrom !== 'none' && subscription.status !== 'trialing')
    for (const item of subscription.items.data) {
      const at = request.unusedTimeFrom === 'now' ? world.now() : item.current_period_start;
      const credit = unusedTime(world, subscription, item, at);
      if (credit !== null) storeInvoiceItem(world, credit);
    }
  pauseNow(world, subscription, 'pause_requested');
  if (request.invoicingBehavior === 'invoice') invoicePending(world, subscription);
}

export interface ResumeRequest {
  anchor: 'now' | 'unchanged';
  paymentBehavior: 'resume_on_payment_attempt' | 'resume_on_payment_success';
  prorationBehavior: ProrationBehavior;
  prorationDate: number;
}

function resumedItems(world: World, subscription: Subscription, anchor: number): SubscriptionItem[] {
  return subscription.items.data.map((item) => {
    const { start, end } = periodOf(item.price, anchor, world.now(), null);
    return { ...item, current_period_start: start, current_period_end: end };
  });
}

/** The changes of a resumption and what they cost: whole periods from now, or the rest of the running ones. */
export function resumeSubscription(world: World, subscription: Subscription, request: ResumeRequest): void {
  if (subscription.status !== 'paused')
    throw invalid(
      `Only paused subscriptions can be resumed. This subscription has a status of \`${subscription.status}\`.`,
    );
  const customer = world.state.customers.get(subscription.customer);
  if (customer === undefined) return;
  const resets = request.anchor === 'now';
  const anchor = resets ? world.now() : subscription.billing_cycle_anchor;
  const items = resumedItems(world, subscription, anchor);
  const changes: Partial<Subscription> = {
    ...shapeOf(subscription, items),
    billing_cycle_anchor: anchor,
    status: 'active',
  };
  if (!resets && request.prorationBehavior !== 'none')
    for (const item of items)
      storeInvoiceItem(
        world,
        remainingTime(world, subscription, item, Math.max(request.prorationDate, item.current_period_start)),
      );
  if (!resets && request.prorationBehavior !== 'always_invoice') {
    resumed(world, subscription, changes);
    return;
  }
  const pending = pendingFor(world, customer.id, subscription.id, true);
  const invoice = openDraft(world, {
    customer,
    subscription,
    reason: 'subscription_update',
    lines: (id) => [
      ...pending.map((item) => lineOfItem(id, item)),
      ...(resets
        ? items.map((item) =>
            periodLine(world, id, { ...subscription, billing_cycle_anchor: anchor }, item, 'full'),
          )
        : []),
    ],
    currency: subscription.currency,
    periodStart: Math.min(...subscription.items.data.map((item) => item.current_period_start)),
    periodEnd: world.now(),
    autoAdvance: false,
    discounts: discountsFor(world, customer, subscription),
  });
  for (const item of pending) item.invoice = invoice.id;
  announceDraft(world, invoice);
  if (request.paymentBehavior === 'resume_on_payment_attempt')
    resumed(world, subscription, { ...changes, latest_invoice: invoice.id });
  else {
    const expiresAt = world.now() + PAYMENT_WINDOW;
    world.state.heldChanges.set(subscription.id, { invoice: invoice.id, changes, expiresAt, resumes: true });
    world.update('customer.subscription.updated', subscription, { latest_invoice: invoice.id });
    world.scheduler.plan('pending_update_expires', expiresAt, subscription.id);
  }
  finalizeInvoice(world, invoice);
  if (invoice.status === 'open') attemptInvoice(world, invoice, { onSession: true });
}

function resumed(world: World, subscription: Subscription, changes: Partial<Subscription>): void {
  delete subscription.status_details;
  world.update('customer.subscription.updated', subscription, changes);
  world.emit('customer.subscription.resumed', subscription);
  planCycle(world, subscription);
}
