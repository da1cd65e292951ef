import { cycleAt } from '../calendar.ts';
import { invalid } from '../errors.ts';
import { newId } from '../ids.ts';
import { planOf } from '../resources/price-object.ts';
import type { PaymentOutcome } from '../state.ts';
import type { Coupon, Customer, InvoiceItem, Price, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import type { CancelAt } from './subscription-times.ts';

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

/** A coupon as it is redeemed: directly, by a promotion code, or because a discount of it goes on. */
export interface Redemption {
  coupon: Coupon;
  promotionCode: string | null;
  discount: string | null;
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
  prorationBehavior?: 'create_prorations' | 'always_invoice' | 'none';
  cancelAt: CancelAt | null;
  redemptions: Redemption[];
  checkoutSession?: string | null;
  daysUntilDue?: number | null;
  schedule?: string | null;
  /** Started by a schedule: active with its first invoice still to be collected. */
  activeAtOnce?: boolean;
  paymentBehavior: PaymentBehavior;
  collectionMethod?: 'charge_automatically' | 'send_invoice';
  paymentSettings?: {
    payment_method_types?: string[] | null | undefined;
    save_default_payment_method?: 'off' | 'on_subscription' | undefined;
  };
  /** One-time prices of a Checkout session go on the first invoice. */
  extras?: NewItem[];
  /** Further one-time amounts (add_invoice_items). */
  invoiceItems?: InvoiceItem[];
  onSession: boolean;
  outcome?: PaymentOutcome;
}

export function checkRecurring(price: Price, currency: string | undefined, param: string): void {
  if (price.recurring === null)
    throw invalid(
      'The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.',
      { param },
    );
  if (!price.active)
    throw invalid('The price specified is inactive. This field only accepts active prices.', { param });
  if (currency !== undefined && price.currency !== currency)
    throw invalid(
      `The price specified only supports \`${price.currency}\`. This doesn't match the expected currency: \`${currency}\`.`,
      { param },
    );
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
  default_source: null,
  default_tax_rates: [],
  managed_payments: null,
  next_pending_invoice_item_invoice: null,
  on_behalf_of: null,
  pause_collection: null,
  pending_invoice_item_interval: null,
  pending_setup_intent: null,
  pending_update: null,
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
    days_until_due: request.daysUntilDue ?? null,
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
    schedule: request.schedule ?? null,
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
