import { DAY, HOUR } from '../calendar.ts';
import { couponAmount } from '../engine/discounts.ts';
import { createSetupIntent } from '../engine/setup.ts';
import { invalid } from '../errors.ts';
import { mergeMetadata } from '../http/params.ts';
import { refuseRemoved } from '../http/route.ts';
import { newId } from '../ids.ts';
import type { CheckoutLineItem, CheckoutSession, Price } from '../wire.ts';
import type { World } from '../world.ts';
import type { CreateParams } from './checkout-params.ts';
import { findCustomer } from './customer-object.ts';
import { createPrice, findPrice } from './price-object.ts';
import { createProduct } from './products.ts';
import { redemptionsOf } from './subscription-params.ts';

function priceOf(world: World, item: NonNullable<CreateParams['line_items']>[number], index: number): Price {
  const { price: id, price_data: data } = item;
  if (id !== undefined) return findPrice(world, id, `line_items[${index}][price]`);
  if (data === undefined)
    throw invalid(`You must specify either \`price\` or \`price_data\` when using prices.`, {
      code: 'parameter_missing',
      param: `line_items[${index}][price]`,
    });
  return createPrice(world, data.product ?? createProduct(world, data.product_data?.name ?? 'Item').id, data);
}

function lineItems(world: World, params: CreateParams): CheckoutLineItem[] {
  return (params.line_items ?? []).map((item, index) => {
    const price = priceOf(world, item, index);
    const quantity = item.quantity ?? 1;
    const amount = (price.unit_amount ?? 0) * quantity;
    return {
      id: newId('li'),
      object: 'item',
      adjustable_quantity: null,
      amount_discount: 0,
      amount_subtotal: amount,
      amount_tax: 0,
      amount_total: amount,
      currency: price.currency,
      description: world.state.products.get(price.product)?.name ?? null,
      metadata: mergeMetadata(null, item.metadata),
      price: structuredClone(price),
      quantity,
    } satisfies CheckoutLineItem;
  });
}

function checkMode(params: CreateParams, items: readonly CheckoutLineItem[], version: string | null): void {
  const recurring = items.some((item) => item.price?.recurring != null);
  if (params.mode === 'setup' && items.length > 0)
    throw invalid('You can not pass `line_items` in `setup` mode.', { param: 'line_items' });
  if (params.mode !== 'setup' && items.length === 0)
    throw invalid('Missing required param: line_items.', { code: 'parameter_missing', param: 'line_items' });
  if (params.mode === 'payment' && recurring)
    throw invalid(
      'You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only one-time prices.',
      { param: 'mode' },
    );
  if (params.mode === 'subscription' && !recurring)
    throw invalid('You must provide at least one recurring price in `subscription` mode when using prices.', {
      param: 'mode',
    });
  if (params.mode !== 'subscription' && params.subscription_data !== undefined)
    throw invalid('You can not pass `subscription_data` in `payment` mode.', { param: 'subscription_data' });
  if (params.mode !== 'payment' && params.payment_intent_data !== undefined)
    throw invalid('You can not pass `payment_intent_data` in `subscription` mode.', {
      param: 'payment_intent_data',
    });
  if (params.allow_promotion_codes === true && params.discounts !== undefined)
    throw invalid('You may only specify one of these parameters: allow_promotion_codes, discounts.');
  if (params.customer !== undefined && params.customer_email !== undefined)
    throw invalid('You may only specify one of these parameters: customer, customer_email.');
  const hosted = params.ui_mode === undefined || params.ui_mode === 'hosted_page';
  if (hosted && params.success_url === undefined)
    throw invalid('Missing required param: success_url.', {
      code: 'parameter_missing',
      param: 'success_url',
    });
  refuseRemoved(params, version, 'payment_method_types');
}

function expiry(world: World, given: number | undefined): number {
  const now = world.now();
  if (given === undefined) return now + DAY;
  if (given < now + HOUR / 2 - 60 || given > now + DAY + 60)
    throw invalid(
      'The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.',
      {
        param: 'expires_at',
      },
    );
  return given;
}

/** A session that only keeps a card has its intent from the start. */
function setupIntentFor(world: World, params: CreateParams): string | null {
  if (params.mode !== 'setup') return null;
  return createSetupIntent(world, {
    customer: params.customer ?? null,
    metadata: mergeMetadata(null, params.setup_intent_data?.metadata),
    types: params.allowed_payment_method_types ?? ['card'],
  }).id;
}

/** The parts that depend on what is sold to whom. */
function saleFields(world: World, params: CreateParams, items: readonly CheckoutLineItem[]) {
  const subtotal = items.reduce((sum, item) => sum + item.amount_subtotal, 0);
  const [redemption] = redemptionsOf(world, params.discounts, params.customer ?? null);
  const off = redemption === undefined ? 0 : couponAmount(redemption.coupon, subtotal);
  const trial = params.subscription_data?.trial_period_days ?? params.subscription_data?.trial_end;
  const free = trial !== undefined;
  const setup = params.mode === 'setup';
  const customer = params.customer === undefined ? null : findCustomer(world, params.customer, 'customer');
  const details = {
    address: null,
    business_name: null,
    individual_name: null,
    name: null,
    phone: null,
    tax_exempt: 'none' as const,
    tax_ids: null,
  };
  const email = customer?.email ?? params.customer_email;
  return {
    amount_subtotal: setup ? null : free ? 0 : subtotal,
    amount_total: setup ? null : free ? 0 : subtotal - off,
    currency: items[0]?.currency ?? params.currency ?? (params.mode === 'setup' ? null : 'usd'),
    customer: customer?.id ?? null,
    customer_creation:
      params.mode === 'payment' && customer === null ? (params.customer_creation ?? 'if_required') : null,
    customer_details: email == null ? null : { ...details, email },
    customer_email: params.customer_email ?? null,
    discounts:
      redemption === undefined
        ? []
        : redemption.promotionCode === null
          ? [{ coupon: redemption.coupon.id, promotion_code: null }]
          : [{ coupon: null, promotion_code: redemption.promotionCode }],
    payment_status: setup ? 'no_payment_required' : 'unpaid',
    total_details: setup ? null : { amount_discount: off, amount_shipping: 0, amount_tax: 0 },
  } satisfies Partial<CheckoutSession>;
}

/** Features this sandbox does not act on; as Stripe shows them when unused. */
const UNUSED = {
  adaptive_pricing: { enabled: true },
  after_expiration: null,
  automatic_tax: { enabled: false, liability: null, provider: null, status: null },
  client_secret: null,
  collected_information: null,
  consent: null,
  consent_collection: null,
  currency_conversion: null,
  custom_fields: [],
  custom_text: {
    after_submit: null,
    shipping_address: null,
    submit: null,
    terms_of_service_acceptance: null,
  },
  customer_account: null,
  integration_identifier: null,
  livemode: false,
  managed_payments: { enabled: false },
  origin_context: null,
  payment_link: null,
  payment_method_configuration_details: { id: 'pmc_1SandboxTollgate0default', parent: null },
  payment_method_options: { card: { request_three_d_secure: 'automatic' } },
  permissions: null,
  phone_number_collection: { enabled: false },
  recovered_from: null,
  saved_payment_method_options: {
    allow_redisplay_filters: ['always'],
    payment_method_remove: 'disabled',
    payment_method_save: null,
  },
  shipping_address_collection: null,
  shipping_cost: null,
  shipping_options: [],
  wallet_options: null,
} satisfies Partial<CheckoutSession>;

function invoiceCreation(mode: string): CheckoutSession['invoice_creation'] {
  if (mode !== 'payment') return null;
  return {
    enabled: false,
    invoice_data: {
      account_tax_ids: null,
      custom_fields: null,
      description: null,
      footer: null,
      issuer: null,
      metadata: {},
      rendering_options: null,
    },
  };
}

export function createSession(world: World, params: CreateParams, version: string | null): CheckoutSession {
  const items = lineItems(world, params);
  checkMode(params, items, version);
  const id = newId('cs_test', 58);
  const session = {
    ...UNUSED,
    ...saleFields(world, params, items),
    id,
    object: 'checkout.session',
    allow_promotion_codes: params.allow_promotion_codes ?? null,
    allowed_payment_method_types: params.allowed_payment_method_types ?? null,
    billing_address_collection: params.billing_address_collection ?? null,
    cancel_url: params.cancel_url ?? null,
    client_reference_id: params.client_reference_id ?? null,
    created: world.now(),
    expires_at: expiry(world, params.expires_at),
    invoice: null,
    invoice_creation: invoiceCreation(params.mode),
    locale: (params.locale ?? null) as CheckoutSession['locale'],
    metadata: mergeMetadata(null, params.metadata),
    mode: params.mode,
    payment_intent: null,
    payment_method_collection:
      params.mode === 'subscription' ? (params.payment_method_collection ?? 'always') : 'if_required',
    payment_method_types: params.allowed_payment_method_types ?? ['card'],
    setup_intent: setupIntentFor(world, params),
    status: 'open',
    submit_type: params.submit_type ?? null,
    subscription: null,
    success_url: params.success_url ?? null,
    ui_mode: params.ui_mode ?? 'hosted_page',
    url: `${world.baseUrl()}/c/pay/${id}`,
  } satisfies CheckoutSession;
  store(world, session, params, items);
  return session;
}

function redeemedCoupon(world: World, session: CheckoutSession): string | null {
  const [discount] = session.discounts ?? [];
  const code = world.state.promotionCodes.get(discount?.promotion_code ?? '');
  return discount?.coupon ?? code?.promotion.coupon ?? null;
}

function store(
  world: World,
  session: CheckoutSession,
  params: CreateParams,
  items: CheckoutLineItem[],
): void {
  const { subscription_data: subscription, payment_intent_data: payment } = params;
  const trialEnd = subscription?.trial_end;
  world.state.sessions.set(session.id, session);
  world.state.sessionLineItems.set(session.id, items);
  world.state.sessionOrders.set(session.id, {
    lines: items.map((item) => ({ price: item.price?.id ?? '', quantity: item.quantity ?? 1 })),
    subscription: {
      metadata: mergeMetadata(null, subscription?.metadata),
      trialDays:
        subscription?.trial_period_days ?? (trialEnd === undefined ? null : (trialEnd - world.now()) / DAY),
      missingPaymentMethod:
        subscription?.trial_settings?.end_behavior.missing_payment_method ?? 'create_invoice',
      description: subscription?.description ?? null,
    },
    payment: {
      metadata: mergeMetadata(null, payment?.metadata),
      description: payment?.description ?? null,
      saveCard: payment?.setup_future_usage !== undefined,
    },
    coupon: redeemedCoupon(world, session),
  });
  world.scheduler.plan('session_expires', session.expires_at, session.id);
}
