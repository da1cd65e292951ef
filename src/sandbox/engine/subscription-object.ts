import { cycleAt } from '../calendar.ts';
import { newId } from '../ids.ts';
import { planOf } from '../resources/prices.ts';
import type { PaymentOutcome } from '../state.ts';
import type { Coupon, Customer, Price, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';

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
  paymentSettings?: {
    payment_method_types?: string[] | undefined;
    save_default_payment_method?: 'off' | 'on_subscription' | undefined;
  };
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

/** Features this sandbox does not act on when a subscription is created; as Stripe shows them when unused. */
const UNUSED = {
  application: null,
  application_fee_percent: null,
  automatic_tax: { disabled_reason: null, enabled: false, liability: null },
  billing_cycle_anchor_config: null,
  billing_schedules: [],
  billing_thresholds: null,
  customer_account: null,
  days_until_due: null,
  default_source: null,
  default_tax_rates: [],
  managed_payments: null,
  next_pending_invoice_item_invoice: null,
  on_behalf_of: null,
  pause_collection: null,
  pending_invoice_item_interval: null,
  pending_setup_intent: null,
  pending_update: null,
  schedule: null,
  transfer_data: null,
} satisfies Partial<Subscription>;

export function buildSubscription(
  world: World,
  request: NewSubscription,
  id: string,
  items: SubscriptionItem[],
  anchor: number,
): Subscription {
  const now = world.now();
  const first = items.length === 1 ? items[0] : undefined;
  return {
    ...UNUSED,
    id,
    object: 'subscription',
    billing_cycle_anchor: anchor,
    billing_mode: { flexible: { proration_discounts: 'included' }, type: 'flexible', updated_at: now },
    cancel_at: null,
    cancel_at_period_end: false,
    canceled_at: null,
    cancellation_details: { comment: null, feedback: null, feedback_option: null, reason: null },
    collection_method: request.collectionMethod ?? 'charge_automatically',
    created: now,
    currency: items[0]?.price.currency ?? 'usd',
    customer: request.customer.id,
    default_payment_method: request.defaultPaymentMethod,
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
    metadata: request.metadata,
    payment_settings: {
      payment_method_options: null,
      payment_method_types: request.paymentSettings?.payment_method_types ?? null,
      save_default_payment_method: request.paymentSettings?.save_default_payment_method ?? 'off',
    },
    plan: first?.plan ?? null,
    quantity: first?.quantity ?? null,
    start_date: now,
    status: request.trialEnd === null ? 'incomplete' : 'trialing',
    test_clock: request.customer.test_clock ?? null,
    trial_end: request.trialEnd,
    trial_settings: request.trialSettings ?? {
      end_behavior: { billing_cycle_anchor: null, missing_payment_method: 'create_invoice' },
    },
    trial_start: request.trialEnd === null ? null : now,
  } satisfies Subscription;
}
