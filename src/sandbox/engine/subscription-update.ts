import type { PaymentOutcome } from '../state.ts';
import type { Invoice, InvoiceItem, InvoiceLine, PaymentIntent, Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { discountsFor } from './discounts.ts';
import { syncEntitlements } from './entitlements.ts';
import { lineOfItem, pendingFor, storeInvoiceItem } from './invoice-items.ts';
import { announceDraft, attemptInvoice, finalizeInvoice, openDraft } from './invoicing.ts';
import { periodLine } from './lines.ts';
import { cardError, payingMethod } from './payments.ts';
import { type ChangeRequest, type NextShape, nextShape } from './subscription-next.ts';
import type { PaymentBehavior } from './subscription-object.ts';
import { PAYMENT_WINDOW, planCycle, planTrialNotice } from './subscription-times.ts';
import { trialGoesOn } from './trial-end.ts';

type Outcome = { outcome: PaymentOutcome | 'no_method'; intent: PaymentIntent | null };

export interface Change extends ChangeRequest {
  paymentBehavior: PaymentBehavior;
  offSession?: boolean;
  /** Other fields that change with it, told by the same event. */
  fields?: Partial<Subscription>;
  /** One-time amounts that go on the invoice of this change, or wait for the next one. */
  extras?: InvoiceItem[];
}

/** The lines of an invoice for what waits and for periods that start over; shared with the preview. */
export function changeLines(
  world: World,
  subscription: Subscription,
  items: readonly InvoiceItem[],
  next: Pick<NextShape, 'restarted'>,
): (invoice: string) => InvoiceLine[] {
  return (invoice) => [
    ...items.map((item) => lineOfItem(invoice, item)),
    ...next.restarted.map((item) => periodLine(world, invoice, subscription, item, 'full')),
  ];
}

function draftChange(world: World, subscription: Subscription, next: NextShape | null): Invoice | null {
  const customer = world.state.customers.get(subscription.customer);
  const items = pendingFor(world, subscription.customer, subscription.id, true);
  const restarted = next?.restarted ?? [];
  if (customer === undefined || items.length + restarted.length === 0) return null;
  const shape = { ...subscription, ...next?.changes };
  const invoice = openDraft(world, {
    customer,
    subscription,
    reason: 'subscription_update',
    lines: changeLines(world, shape, items, { restarted }),
    currency: subscription.currency,
    periodStart: Math.min(...subscription.items.data.map((item) => item.current_period_start)),
    periodEnd: world.now(),
    autoAdvance: subscription.collection_method === 'send_invoice',
    discounts: discountsFor(world, customer, subscription),
  });
  for (const item of items) item.invoice = invoice.id;
  return invoice;
}

function collect(world: World, subscription: Subscription, invoice: Invoice, change?: Change): Outcome {
  announceDraft(world, invoice);
  // Invoices that are sent stay drafts for an hour, for the sender to look at.
  if (subscription.collection_method === 'send_invoice') return { outcome: 'succeeds', intent: null };
  finalizeInvoice(world, invoice);
  if (invoice.status !== 'open') return { outcome: 'succeeds', intent: null };
  if (change?.paymentBehavior === 'default_incomplete') {
    world.update('customer.subscription.updated', subscription, { status: 'past_due' });
    return { outcome: 'requires_action', intent: null };
  }
  return attemptInvoice(world, invoice, { onSession: change?.offSession !== true });
}

/** Collects what waits for the subscription now. A total below zero becomes customer balance when it finalizes. */
export function invoicePending(world: World, subscription: Subscription): Outcome {
  const invoice = draftChange(world, subscription, null);
  if (invoice === null) return { outcome: 'succeeds', intent: null };
  if (subscription.ended_at === null)
    world.update('customer.subscription.updated', subscription, { latest_invoice: invoice.id });
  return collect(world, subscription, invoice);
}

/** Ending a trial without a way to pay ends it as its settings say (stripe.md A1). */
function trialStops(world: World, subscription: Subscription, change: Change): boolean {
  if (change.trialEnd !== 'now' || subscription.status !== 'trialing') return false;
  return !trialGoesOn(world, subscription, { trial_end: world.now() });
}

export function changeSubscription(world: World, subscription: Subscription, change: Change): void {
  if (trialStops(world, subscription, change)) return;
  const next = nextShape(world, subscription, change);
  const waits = change.paymentBehavior === 'pending_if_incomplete' && next.invoiceNow;
  const added = [...next.prorations, ...(change.extras ?? [])].map((item) => storeInvoiceItem(world, item));
  if (waits && subscription.collection_method === 'charge_automatically') {
    payThenChange(world, subscription, next, change);
    return;
  }
  const before = structuredClone(subscription);
  const extras = change.prorationBehavior === 'always_invoice' && (change.extras ?? []).length > 0;
  const due = next.invoiceNow || extras;
  const invoice = due ? draftChange(world, subscription, next) : null;
  world.update('customer.subscription.updated', subscription, {
    ...change.fields,
    ...next.changes,
    ...(invoice === null ? {} : { latest_invoice: invoice.id }),
  });
  replan(world, subscription, before);
  if (invoice === null) return;
  const { outcome, intent } = collect(world, subscription, invoice, change);
  if (outcome === 'succeeds' || change.paymentBehavior !== 'error_if_incomplete') return;
  undo(world, subscription, before, invoice, added);
  throw cardError(intent, outcome);
}

function replan(world: World, subscription: Subscription, before: Subscription): void {
  planCycle(world, subscription);
  syncEntitlements(world, subscription.customer);
  if (subscription.trial_end !== before.trial_end && subscription.status === 'trialing')
    planTrialNotice(world, subscription);
}

/** error_if_incomplete leaves the subscription as it was, and no invoice. */
function undo(
  world: World,
  subscription: Subscription,
  before: Subscription,
  invoice: Invoice,
  added: readonly InvoiceItem[],
): void {
  for (const item of added) world.state.invoiceItems.delete(item.id);
  world.state.invoices.delete(invoice.id);
  world.update('customer.subscription.updated', subscription, before);
}

/** The change is not live until its invoice is paid; after 23 hours it is forgotten (stripe.md A1). */
function payThenChange(world: World, subscription: Subscription, next: NextShape, change: Change): void {
  const invoice = draftChange(world, subscription, next);
  if (invoice === null) return;
  const expires = world.now() + PAYMENT_WINDOW;
  world.state.heldChanges.set(subscription.id, {
    invoice: invoice.id,
    changes: { ...change.fields, ...next.changes },
    expiresAt: expires,
    resumes: false,
  });
  collect(world, subscription, invoice, { ...change, paymentBehavior: 'allow_incomplete' });
  planCycle(world, subscription);
  if (!world.state.heldChanges.has(subscription.id)) return;
  const movesTrial = next.changes.trial_end !== undefined;
  world.update('customer.subscription.updated', subscription, {
    latest_invoice: invoice.id,
    pending_update: {
      billing_cycle_anchor: change.resetAnchor ? (next.changes.billing_cycle_anchor ?? null) : null,
      cancel_at_period_end: null,
      discount: null,
      discounts: null,
      expires_at: expires,
      metadata: null,
      subscription_items: next.items,
      trial_end: movesTrial ? (next.changes.trial_end ?? null) : null,
      trial_from_plan: null,
    },
  });
  world.scheduler.plan('pending_update_expires', expires, subscription.id);
}

export const canPay = (world: World, subscription: Subscription): boolean =>
  payingMethod(world, subscription.customer, subscription.default_payment_method) !== null;
