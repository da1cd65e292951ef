import { newId, randomText } from '../ids.ts';
import type { PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';

export interface IntentRequest {
  amount: number;
  currency: string;
  customer: string | null;
  description: string | null;
  metadata?: Record<string, string>;
  setupFutureUsage?: 'off_session' | 'on_session' | null;
  /** The invoice to pay; null for a one-off payment. */
  invoice: string | null;
  /** An explicit choice of payment method types; without it the account's automatic set. */
  methodTypes?: string[] | undefined;
}

const INVOICE_METHODS = ['acss_debit', 'card', 'cashapp', 'link', 'us_bank_account'];
const AUTOMATIC_METHODS = [
  'card',
  'acss_debit',
  'afterpay_clearpay',
  'alipay',
  'klarna',
  'link',
  'us_bank_account',
  'wechat_pay',
];
const CARD_OPTIONS = {
  installments: null,
  mandate_options: null,
  network: null,
  request_three_d_secure: 'automatic' as const,
};
type Options = NonNullable<PaymentIntent['payment_method_options']>;

/** Every method type has options of its own; the values are the account defaults [recordings]. */
function methodOptions(types: readonly string[], invoice: boolean): Options {
  const all = {
    acss_debit: {
      ...(invoice
        ? { mandate_options: { interval_description: null, payment_schedule: null, transaction_type: null } }
        : {}),
      verification_method: 'automatic',
    },
    afterpay_clearpay: { reference: null },
    alipay: {},
    card: CARD_OPTIONS,
    cashapp: {},
    klarna: { preferred_locale: null },
    link: { persistent_token: null },
    us_bank_account: {
      ...(invoice ? {} : { financial_connections: { permissions: ['payment_method'], prefetch: [] } }),
      mandate_options: {},
      verification_method: 'automatic',
      ...(invoice ? {} : { transaction_purpose: 'unspecified' }),
    },
    wechat_pay: { app_id: null, client: null },
  };
  return Object.fromEntries(Object.entries(all).filter(([type]) => types.includes(type))) as Options;
}

export function createIntent(world: World, request: IntentRequest): PaymentIntent {
  const id = newId('pi');
  const forInvoice = request.invoice !== null;
  const automatic = !forInvoice && request.methodTypes === undefined;
  const types = request.methodTypes ?? (forInvoice ? INVOICE_METHODS : AUTOMATIC_METHODS);
  const intent = {
    id,
    object: 'payment_intent',
    allowed_payment_method_types: null,
    amount: request.amount,
    amount_capturable: 0,
    amount_details: { tip: {} },
    amount_received: 0,
    application: null,
    application_fee_amount: null,
    automatic_payment_methods: automatic ? { allow_redirects: 'always', enabled: true } : null,
    canceled_at: null,
    cancellation_reason: null,
    capture_method: automatic ? 'automatic_async' : 'automatic',
    client_secret: `${id}_secret_${randomText(24)}`,
    confirmation_method: 'automatic',
    created: world.now(),
    currency: request.currency,
    customer: request.customer,
    customer_account: null,
    description: request.description,
    excluded_payment_method_types: null,
    last_payment_error: null,
    latest_charge: null,
    livemode: false,
    managed_payments: null,
    metadata: request.metadata ?? {},
    next_action: null,
    on_behalf_of: null,
    ...(request.invoice === null
      ? {}
      : { payment_details: { customer_reference: null, order_reference: request.invoice.slice(0, 25) } }),
    payment_method: null,
    payment_method_configuration_details: automatic
      ? { id: 'pmc_1SandboxTollgate0default', parent: null }
      : null,
    payment_method_options: methodOptions(types, forInvoice),
    payment_method_types: [...types],
    payment_record: null,
    processing: null,
    receipt_email: null,
    review: null,
    setup_future_usage: request.setupFutureUsage ?? null,
    shipping: null,
    source: null,
    statement_descriptor: null,
    statement_descriptor_suffix: null,
    status: 'requires_payment_method',
    transfer_data: null,
    transfer_group: null,
  } satisfies PaymentIntent;
  world.state.paymentIntents.set(id, intent);
  world.emit('payment_intent.created', intent);
  return intent;
}

export function cancelIntent(
  world: World,
  intent: PaymentIntent,
  reason: PaymentIntent['cancellation_reason'],
): void {
  if (intent.status === 'succeeded' || intent.status === 'canceled') return;
  letGo(world, intent);
  Object.assign(intent, {
    status: 'canceled',
    canceled_at: world.now(),
    cancellation_reason: reason,
    next_action: null,
  });
  world.emit('payment_intent.canceled', intent);
}

/** A held amount that is not captured goes back to the card. */
function letGo(world: World, intent: PaymentIntent): void {
  const charge = world.state.charges.get(intent.latest_charge ?? '');
  if (intent.status !== 'requires_capture' || charge === undefined) return;
  intent.amount_capturable = 0;
  world.update('charge.refunded', charge, { amount_refunded: charge.amount, refunded: true });
}
