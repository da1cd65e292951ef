import { newId } from '../ids.ts';
import type { Customer, SubscriptionSchedule } from '../wire.ts';
import type { World } from '../world.ts';

export type Phase = SubscriptionSchedule['phases'][number];

const NO_INVOICE_SETTINGS = {
  account_tax_ids: null,
  custom_fields: null,
  days_until_due: null,
  description: null,
  footer: null,
} as const;

export function defaultSettings(
  given: Partial<SubscriptionSchedule['default_settings']>,
): SubscriptionSchedule['default_settings'] {
  return {
    application_fee_percent: null,
    automatic_tax: { disabled_reason: null, enabled: false, liability: null },
    billing_cycle_anchor: 'automatic',
    billing_thresholds: null,
    collection_method: 'charge_automatically',
    default_payment_method: null,
    description: null,
    invoice_settings: { ...NO_INVOICE_SETTINGS, issuer: { type: 'self' } },
    on_behalf_of: null,
    transfer_data: null,
    ...given,
  };
}

export interface PhaseContent {
  items: { price: string; quantity: number; metadata: Record<string, string> }[];
  currency: string;
  startDate: number;
  endDate: number;
  trialEnd: number | null;
  prorationBehavior: 'create_prorations' | 'always_invoice' | 'none';
  anchor: 'automatic' | 'phase_start' | null;
  metadata: Record<string, string>;
  description: string | null;
  collectionMethod: 'charge_automatically' | 'send_invoice' | null;
  daysUntilDue: number | null;
  defaultPaymentMethod: string | null;
  discounts: Phase['discounts'];
}

export function buildPhase(content: PhaseContent): Phase {
  return {
    add_invoice_items: [],
    application_fee_percent: null,
    billing_cycle_anchor: content.anchor,
    billing_thresholds: null,
    collection_method: content.collectionMethod,
    currency: content.currency,
    default_payment_method: content.defaultPaymentMethod,
    default_tax_rates: [],
    description: content.description,
    discounts: content.discounts,
    end_date: content.endDate,
    invoice_settings:
      content.daysUntilDue === null
        ? null
        : { ...NO_INVOICE_SETTINGS, days_until_due: content.daysUntilDue, issuer: null },
    items: content.items.map((item) => ({
      billing_thresholds: null,
      discounts: [],
      metadata: item.metadata,
      plan: item.price,
      price: item.price,
      quantity: item.quantity,
      tax_rates: [],
    })),
    metadata: content.metadata,
    on_behalf_of: null,
    proration_behavior: content.prorationBehavior,
    start_date: content.startDate,
    transfer_data: null,
    trial_end: content.trialEnd,
  } satisfies Phase;
}

export function buildSchedule(
  world: World,
  given: {
    customer: Customer;
    phases: Phase[];
    endBehavior: SubscriptionSchedule['end_behavior'];
    metadata: Record<string, string>;
    settings: Partial<SubscriptionSchedule['default_settings']>;
  },
): SubscriptionSchedule {
  const schedule = {
    id: newId('sub_sched'),
    object: 'subscription_schedule',
    application: null,
    billing_mode: {
      flexible: { proration_discounts: 'included' },
      type: 'flexible',
      updated_at: world.now(),
    },
    canceled_at: null,
    completed_at: null,
    created: world.now(),
    current_phase: null,
    customer: given.customer.id,
    customer_account: null,
    default_settings: defaultSettings(given.settings),
    end_behavior: given.endBehavior,
    livemode: false,
    metadata: given.metadata,
    pause_schedules: [],
    phases: given.phases,
    released_at: null,
    released_subscription: null,
    status: 'not_started',
    subscription: null,
    test_clock: given.customer.test_clock ?? null,
  } satisfies SubscriptionSchedule;
  world.state.schedules.set(schedule.id, schedule);
  return schedule;
}
