import { HOUR } from '../calendar.ts';
import { invalid } from '../errors.ts';
import { planOf } from '../resources/prices.ts';
import type { PaymentOutcome } from '../state.ts';
import type { Invoice, InvoiceLine, PaymentIntent, Price, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { announceDraft, attemptInvoice, finalizeInvoice, openDraft } from './invoicing.ts';
import { prorationLine } from './lines.ts';
import { cardError } from './payments.ts';
import { takePendingLines } from './renewal.ts';
import { planCycle } from './subscription-create.ts';
import { buildItem, type PaymentBehavior, periodOf } from './subscription-object.ts';

const PENDING_UPDATE_HOURS = 23;

export interface ItemChange {
  id: string | undefined;
  price: Price | undefined;
  quantity: number | undefined;
  metadata: Record<string, string> | undefined;
  deleted: boolean;
}

export type ProrationBehavior = 'create_prorations' | 'always_invoice' | 'none';

export interface ItemsUpdate {
  changes: ItemChange[];
  prorationBehavior: ProrationBehavior;
  prorationDate: number;
  paymentBehavior: PaymentBehavior;
  resetAnchor: boolean;
}

/** The items as they would be; an unchanged interval keeps its running period. */
export function nextItems(world: World, subscription: Subscription, update: ItemsUpdate): SubscriptionItem[] {
  const anchor = update.resetAnchor ? world.now() : subscription.billing_cycle_anchor;
  const trialEnd = subscription.status === 'trialing' ? subscription.trial_end : null;
  const items = new Map(subscription.items.data.map((item) => [item.id, item]));
  for (const change of update.changes) {
    const current = change.id === undefined ? undefined : items.get(change.id);
    const price = change.price ?? current?.price;
    if (change.id !== undefined && current === undefined)
      throw invalid(`No such subscription item: '${change.id}'`, {
        code: 'resource_missing',
        param: 'items[0][id]',
      });
    if (price === undefined)
      throw invalid('Missing required param: items[0][price].', {
        code: 'parameter_missing',
        param: 'items[0][price]',
      });
    if (price.recurring === null)
      throw invalid(
        'The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.',
        { param: 'items[0][price]' },
      );
    if (change.deleted && change.id !== undefined) {
      items.delete(change.id);
      continue;
    }
    const period = periodOf(price, anchor, world.now(), trialEnd);
    const metadata = change.metadata ?? current?.metadata ?? {};
    const quantity = change.quantity ?? current?.quantity ?? 1;
    const item = buildItem(world, subscription.id, { price, quantity, metadata }, period, current?.id);
    items.set(item.id, { ...item, created: current?.created ?? item.created });
  }
  if (items.size === 0)
    throw invalid('A subscription must have at least one active plan.', { param: 'items' });
  if (!update.resetAnchor) return [...items.values()];
  return [...items.values()].map((item) => {
    const { start, end } = periodOf(item.price, anchor, world.now(), trialEnd);
    return { ...item, current_period_start: start, current_period_end: end };
  });
}

/** Credit for what was paid and is no longer used, charge for what is used from now on. */
export function prorations(
  world: World,
  subscription: Subscription,
  next: readonly SubscriptionItem[],
  at: number,
): ((invoice: string) => InvoiceLine)[] {
  if (subscription.status === 'trialing') return [];
  const before = structuredClone(subscription);
  const builds: ((invoice: string) => InvoiceLine)[] = [];
  const same = (a: SubscriptionItem, b: SubscriptionItem | undefined): boolean =>
    a.price.id === b?.price.id && a.quantity === b.quantity && a.current_period_end === b.current_period_end;
  for (const item of before.items.data)
    if (
      !same(
        item,
        next.find((one) => one.id === item.id),
      )
    )
      builds.push((invoice) => prorationLine(world, invoice, before, item, at, 'unused'));
  for (const item of next)
    if (
      !same(
        item,
        before.items.data.find((one) => one.id === item.id),
      )
    )
      builds.push((invoice) => prorationLine(world, invoice, before, item, at, 'remaining'));
  return builds;
}

function shape(subscription: Subscription, data: SubscriptionItem[]): Partial<Subscription> {
  const first = data.length === 1 ? data[0] : undefined;
  return {
    items: { ...subscription.items, data, total_count: data.length },
    plan: first === undefined ? null : planOf(first.price),
    quantity: first?.quantity ?? null,
  };
}

function draftPending(world: World, subscription: Subscription): Invoice | null {
  const customer = world.state.customers.get(subscription.customer);
  const builds = takePendingLines(world, subscription);
  if (customer === undefined || builds.length === 0) return null;
  return openDraft(world, {
    customer,
    subscription,
    reason: 'subscription_update',
    lines: (id) => builds.map((build) => build(id)),
    currency: subscription.currency,
    periodStart: Math.min(...subscription.items.data.map((item) => item.current_period_start)),
    periodEnd: world.now(),
    autoAdvance: false,
    discounts: subscription.discounts,
  });
}

/** Collects the pending prorations now. A total below zero becomes customer balance when it finalizes. */
export function invoicePending(
  world: World,
  subscription: Subscription,
): { outcome: PaymentOutcome | 'no_method'; intent: PaymentIntent | null } {
  const invoice = draftPending(world, subscription);
  if (invoice === null) return { outcome: 'succeeds', intent: null };
  if (subscription.ended_at === null)
    world.update('customer.subscription.updated', subscription, { latest_invoice: invoice.id });
  announceDraft(world, invoice);
  finalizeInvoice(world, invoice);
  if (invoice.status !== 'open') return { outcome: 'succeeds', intent: null };
  return attemptInvoice(world, invoice, { onSession: true });
}

export function updateItems(world: World, subscription: Subscription, update: ItemsUpdate): void {
  const next = nextItems(world, subscription, update);
  const builds =
    update.prorationBehavior === 'none' ? [] : prorations(world, subscription, next, update.prorationDate);
  const pending = builds.map((build) => ({ subscription: subscription.id, build }));
  if (update.paymentBehavior === 'pending_if_incomplete' && update.prorationBehavior === 'always_invoice') {
    world.state.pendingLines.push(...pending);
    payThenChange(world, subscription, next);
    return;
  }
  const before = structuredClone(subscription);
  world.state.pendingLines.push(...pending);
  const anchor = update.resetAnchor ? { billing_cycle_anchor: world.now() } : {};
  const changes = { ...shape(subscription, next), ...anchor };
  const resets = update.resetAnchor && subscription.status !== 'trialing';
  world.update('customer.subscription.updated', subscription, changes);
  planCycle(world, subscription);
  if (update.prorationBehavior !== 'always_invoice' && !resets) return;
  const { outcome, intent } = invoicePending(world, subscription);
  if (outcome !== 'succeeds' && update.paymentBehavior === 'error_if_incomplete') {
    world.update('customer.subscription.updated', subscription, {
      ...before,
      latest_invoice: subscription.latest_invoice,
    });
    throw cardError(intent, outcome);
  }
}

/** The change is not live until its invoice is paid; after 23 hours it is forgotten (stripe.md A1). */
function payThenChange(world: World, subscription: Subscription, next: SubscriptionItem[]): void {
  const invoice = draftPending(world, subscription);
  if (invoice === null) {
    world.update('customer.subscription.updated', subscription, shape(subscription, next));
    return;
  }
  world.state.heldChanges.set(subscription.id, { invoice: invoice.id, items: next });
  announceDraft(world, invoice);
  finalizeInvoice(world, invoice);
  if (invoice.status === 'open') attemptInvoice(world, invoice, { onSession: true });
  planCycle(world, subscription);
  if (!world.state.heldChanges.has(subscription.id)) return;
  const expires = world.now() + PENDING_UPDATE_HOURS * HOUR;
  world.update('customer.subscription.updated', subscription, {
    latest_invoice: invoice.id,
    pending_update: {
      billing_cycle_anchor: null,
      cancel_at_period_end: null,
      discount: null,
      discounts: null,
      expires_at: expires,
      metadata: null,
      subscription_items: next,
      trial_end: null,
      trial_from_plan: null,
    },
  });
  world.scheduler.plan('pending_update_expires', expires, subscription.id);
}
