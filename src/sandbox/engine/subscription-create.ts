import { newId } from '../ids.ts';
import type { PaymentOutcome } from '../state.ts';
import type { Invoice, InvoiceLine, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { createDiscount, discountsFor } from './discounts.ts';
import { syncEntitlements } from './entitlements.ts';
import { lineOfItem, pendingFor, storeInvoiceItem } from './invoice-items.ts';
import { announceDraft, attemptInvoice, finalizeInvoice, openDraft } from './invoicing.ts';
import { type Billing, oneTimeLine, periodLine } from './lines.ts';
import { cardError, payingMethod } from './payments.ts';
import {
  buildItem,
  buildSubscription,
  checkRecurring,
  type NewSubscription,
  periodOf,
  type Redemption,
} from './subscription-object.ts';
import {
  type CancelAt,
  cancellation,
  PAYMENT_WINDOW,
  planCycle,
  planEnd,
  planTrialNotice,
} from './subscription-times.ts';

export function redeemAll(
  world: World,
  redemptions: readonly Redemption[],
  target: { customer: string | null; subscription: string | null; checkoutSession?: string | null },
): string[] {
  return redemptions.map(
    ({ coupon, promotionCode, discount }) =>
      discount ?? createDiscount(world, coupon, { ...target, promotionCode }).id,
  );
}

/** The first period in full, the stub before a later anchor, a trial for nothing, or a stub that is not billed. */
function firstBilling(request: NewSubscription, now: number): Billing | null {
  if (request.trialEnd !== null) return 'trial';
  const later = request.billingCycleAnchor != null && request.billingCycleAnchor > now;
  if (!later) return 'full';
  return request.prorationBehavior === 'none' ? null : 'stub';
}

function firstLines(
  world: World,
  request: NewSubscription,
  subscription: Subscription,
  items: readonly SubscriptionItem[],
): (invoice: string) => InvoiceLine[] {
  const billing = firstBilling(request, world.now());
  const pending = pendingFor(world, request.customer.id, subscription.id);
  return (invoice) => [
    ...(billing === null ? [] : items.map((item) => periodLine(world, invoice, subscription, item, billing))),
    ...(request.extras ?? []).map((extra) =>
      oneTimeLine(world, invoice, { ...extra, invoiceItem: newId('ii') }),
    ),
    ...pending.map((item) => {
      item.invoice = invoice;
      return lineOfItem(invoice, item);
    }),
  ];
}

/** The subscription as it would be; a preview stops here. */
export function draftSubscription(world: World, request: NewSubscription): Subscription {
  request.items.forEach(({ price }, index) => {
    checkRecurring(price, request.items[0]?.price.currency, `items[${index}][price]`);
  });
  const id = newId('sub');
  const now = world.now();
  const anchor = request.trialEnd ?? request.billingCycleAnchor ?? now;
  const items = request.items.map((item) =>
    buildItem(world, id, item, periodOf(item.price, anchor, now, request.trialEnd)),
  );
  return buildSubscription(world, request, id, items, anchor);
}

export function firstInvoiceLines(
  world: World,
  request: NewSubscription,
  subscription: Subscription,
): (invoice: string) => InvoiceLine[] {
  return firstLines(world, request, subscription, subscription.items.data);
}

/** A subscription with its first invoice, collected as the payment behaviour says. */
export function createSubscription(
  world: World,
  request: NewSubscription,
): { subscription: Subscription; invoice: Invoice; outcome: PaymentOutcome | 'no_method' } {
  const { trialEnd, customer } = request;
  const subscription = draftSubscription(world, request);
  const { id } = subscription;
  const automatic = subscription.collection_method === 'charge_automatically';
  const method = payingMethod(world, customer.id, request.defaultPaymentMethod);
  if (automatic && trialEnd === null && method === null && request.paymentBehavior !== 'default_incomplete')
    throw cardError(null, 'no_method');
  subscription.discounts = redeemAll(world, request.redemptions, {
    customer: customer.id,
    subscription: id,
    checkoutSession: request.checkoutSession ?? null,
  });
  if (request.cancelAt !== null) {
    setCancelAt(world, subscription, request.cancelAt);
  }
  for (const item of request.invoiceItems ?? []) storeInvoiceItem(world, item);
  const invoice = openDraft(world, {
    customer,
    subscription,
    reason: 'subscription_create',
    lines: firstInvoiceLines(world, request, subscription),
    currency: subscription.currency,
    periodStart: world.now(),
    periodEnd: world.now(),
    autoAdvance: !automatic || request.activeAtOnce === true,
    discounts: discountsFor(world, customer, subscription),
  });
  subscription.latest_invoice = invoice.id;
  const drafts = !automatic || request.activeAtOnce === true;
  if (drafts && trialEnd === null) subscription.status = 'active';
  world.state.subscriptions.set(id, subscription);
  world.emit('customer.subscription.created', subscription);
  for (const discount of subscription.discounts)
    world.emit('customer.discount.created', world.state.discounts.get(discount) ?? {});
  announceDraft(world, invoice);
  planCycle(world, subscription);
  planTrialNotice(world, subscription);
  const outcome = collectFirst(world, subscription, invoice, request);
  syncEntitlements(world, customer.id);
  return { subscription, invoice, outcome };
}

function collectFirst(
  world: World,
  subscription: Subscription,
  invoice: Invoice,
  request: NewSubscription,
): PaymentOutcome | 'no_method' {
  // Invoices that are sent or scheduled stay drafts for an hour, for their sender to look at.
  if (subscription.collection_method === 'send_invoice' || request.activeAtOnce === true) return 'succeeds';
  finalizeInvoice(world, invoice);
  if (invoice.status !== 'open') return 'succeeds';
  world.scheduler.plan('incomplete_expires', world.now() + PAYMENT_WINDOW, subscription.id);
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

/** Cancels later, or takes that back; the caller announces it. */
export function setCancelAt(world: World, subscription: Subscription, at: CancelAt | null): void {
  Object.assign(subscription, cancellation(world, subscription, at));
  planEnd(world, subscription);
}
