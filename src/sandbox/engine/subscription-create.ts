import { cycleAt, DAY, HOUR } from '../calendar.ts';
import { invalid } from '../errors.ts';
import { newId } from '../ids.ts';
import { planOf } from '../resources/prices.ts';
import type { PaymentOutcome } from '../state.ts';
import type { Coupon, Customer, Invoice, Price, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { createDiscount } from './discounts.ts';
import { announceDraft, attemptInvoice, finalizeInvoice, openDraft } from './invoicing.ts';
import { oneTimeLine, periodLine } from './lines.ts';
import { cardError, payingMethod } from './payments.ts';

const INCOMPLETE_HOURS = 23;
const TRIAL_NOTICE_DAYS = 3;

export type PaymentBehavior =
  | 'allow_incomplete'
  | 'default_incomplete'
  | 'error_if_incomplete'
  | 'pending_if_incomplete';

export interface NewItem {
  price: Price;
  quantity: number;
  metadata?: Record<string, string>;
}

export interface NewSubscription {
  customer: Customer;
  items: NewItem[];
  metadata: Record<string, string>;
  description: string | null;
  defaultPaymentMethod: string | null;
  trialEnd: number | null;
  trialSettings?: Subscription['trial_settings'];
  billingCycleAnchor?: number | null;
  cancelAt: number | 'period_end' | null;
  coupons: Coupon[];
  paymentBehavior: PaymentBehavior;
  collectionMethod?: 'charge_automatically' | 'send_invoice';
  /** One-time prices of a Checkout session go on the first invoice. */
  extras?: NewItem[];
  onSession: boolean;
  outcome?: PaymentOutcome;
}

export function buildItem(
  world: World,
  subscription: string,
  item: NewItem,
  period: { start: number; end: number },
  id = newId('si', 14),
): SubscriptionItem {
  return {
    id,
    object: 'subscription_item',
    billing_thresholds: null,
    created: world.now(),
    current_period_end: period.end,
    current_period_start: period.start,
    current_trial: null,
    discounts: [],
    metadata: item.metadata ?? {},
    plan: planOf(item.price),
    price: structuredClone(item.price),
    quantity: item.quantity,
    subscription,
    tax_rates: [],
  } satisfies SubscriptionItem;
}

/** A trial is one period; after it the anchor is the trial's end (stripe.md A1). */
export function periodOf(
  price: Price,
  anchor: number,
  at: number,
  trialEnd: number | null,
): { start: number; end: number } {
  if (trialEnd !== null && trialEnd > at) return { start: at, end: trialEnd };
  const { interval = 'month', interval_count: count = 1 } = price.recurring ?? {};
  const cycle = cycleAt(anchor, interval, count, at);
  return cycle.end === anchor ? { start: at, end: cycle.end } : cycle;
}

function buildSubscription(
  world: World,
  request: NewSubscription,
  id: string,
  items: SubscriptionItem[],
  anchor: number,
): Subscription {
  const now = world.now();
  const first = items.length === 1 ? items[0] : undefined;
  return {
    id,
    object: 'subscription',
    application: null,
    application_fee_percent: null,
    automatic_tax: { disabled_reason: null, enabled: false, liability: null },
    billing_cycle_anchor: anchor,
    billing_cycle_anchor_config: null,
    billing_mode: { flexible: { proration_discounts: 'included' }, type: 'flexible', updated_at: now },
    billing_schedules: [],
    billing_thresholds: null,
    cancel_at: null,
    cancel_at_period_end: false,
    canceled_at: null,
    cancellation_details: { comment: null, feedback: null, feedback_option: null, reason: null },
    collection_method: request.collectionMethod ?? 'charge_automatically',
    created: now,
    currency: items[0]?.price.currency ?? 'usd',
    customer: request.customer.id,
    customer_account: null,
    days_until_due: null,
    default_payment_method: request.defaultPaymentMethod,
    default_source: null,
    default_tax_rates: [],
    description: request.description,
    discounts: [],
    ended_at: null,
    invoice_settings: {
      account_tax_ids: null,
      custom_fields: null,
      description: null,
      footer: null,
      issuer: { type: 'self' },
    },
    items: {
      object: 'list',
      data: items,
      has_more: false,
      total_count: items.length,
      url: `/v1/subscription_items?subscription=${id}`,
    },
    latest_invoice: null,
    livemode: false,
    managed_payments: null,
    metadata: request.metadata,
    next_pending_invoice_item_invoice: null,
    on_behalf_of: null,
    pause_collection: null,
    payment_settings: {
      payment_method_options: null,
      payment_method_types: null,
      save_default_payment_method: 'off',
    },
    pending_invoice_item_interval: null,
    pending_setup_intent: null,
    pending_update: null,
    plan: first?.plan ?? null,
    quantity: first?.quantity ?? null,
    schedule: null,
    start_date: now,
    status: request.trialEnd === null ? 'incomplete' : 'trialing',
    test_clock: null,
    transfer_data: null,
    trial_end: request.trialEnd,
    trial_settings: request.trialSettings ?? {
      end_behavior: { billing_cycle_anchor: null, missing_payment_method: 'create_invoice' },
    },
    trial_start: request.trialEnd === null ? null : now,
  } satisfies Subscription;
}

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
