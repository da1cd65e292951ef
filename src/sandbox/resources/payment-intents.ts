import { z } from 'zod';
import { cancelIntent, createIntent } from '../engine/intents.ts';
import { attemptInvoice, invoiceOf } from '../engine/invoicing.ts';
import { captureIntent, cardError, confirmIntent, payingMethod } from '../engine/payments.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  address,
  cosmetic,
  flag,
  given,
  inRange,
  mergeMetadata,
  metadata,
  noParams,
  notModelled,
  pageParams,
  positive,
  text,
  timeRange,
  unset,
} from '../http/params.ts';
import { type Route, refuseRemoved, route } from '../http/route.ts';
import type { PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { findPaymentMethod } from './payment-methods.ts';

const offSession = z.union([flag, z.enum(['one_off', 'recurring']).transform(() => true)]);
const captureMethod = z.enum(['automatic', 'automatic_async', 'manual']);
const shared = {
  allowed_payment_method_types: z.array(text).optional(),
  amount_details: cosmetic,
  application_fee_amount: notModelled,
  customer: text.optional(),
  customer_account: notModelled,
  description: text.optional(),
  excluded_payment_method_types: cosmetic,
  hooks: cosmetic,
  metadata: metadata.optional(),
  payment_details: cosmetic,
  payment_method: text.optional(),
  payment_method_configuration: notModelled,
  payment_method_data: notModelled,
  payment_method_options: cosmetic,
  receipt_email: z.union([unset, text]).optional(),
  setup_future_usage: z.union([unset, z.enum(['off_session', 'on_session'])]).optional(),
  shipping: z.union([unset, z.strictObject({ address, name: text, phone: text.optional() })]).optional(),
  statement_descriptor: z.string().max(22).optional(),
  statement_descriptor_suffix: z.string().max(22).optional(),
  transfer_data: notModelled,
  transfer_group: cosmetic,
};
const createParams = z.strictObject({
  ...shared,
  amount: positive,
  automatic_payment_methods: z
    .strictObject({ enabled: flag, allow_redirects: z.enum(['always', 'never']).optional() })
    .optional(),
  capture_method: captureMethod.optional(),
  confirm: flag.optional(),
  confirmation_method: z.enum(['automatic', 'manual']).optional(),
  confirmation_token: notModelled,
  currency: text,
  error_on_requires_action: flag.optional(),
  mandate: notModelled,
  mandate_data: cosmetic,
  off_session: offSession.optional(),
  on_behalf_of: notModelled,
  payment_method_types: z.array(text).optional(),
  radar_options: cosmetic,
  return_url: text.optional(),
  use_stripe_sdk: cosmetic,
});
const updateParams = z.strictObject({
  ...shared,
  amount: positive.optional(),
  capture_method: captureMethod.optional(),
  currency: text.optional(),
});
const confirmParams = z.strictObject({
  ...shared,
  amount_to_confirm: notModelled,
  capture_method: captureMethod.optional(),
  confirmation_token: notModelled,
  error_on_requires_action: flag.optional(),
  mandate: notModelled,
  mandate_data: cosmetic,
  off_session: offSession.optional(),
  radar_options: cosmetic,
  return_url: text.optional(),
  use_stripe_sdk: cosmetic,
});
const captureParams = z.strictObject({
  amount_details: cosmetic,
  amount_to_capture: positive.optional(),
  application_fee_amount: notModelled,
  final_capture: flag.optional(),
  hooks: cosmetic,
  metadata: metadata.optional(),
  payment_details: cosmetic,
  statement_descriptor: cosmetic,
  statement_descriptor_suffix: cosmetic,
  transfer_data: notModelled,
});
const cancelParams = z.strictObject({
  cancellation_reason: z.enum(['abandoned', 'duplicate', 'fraudulent', 'requested_by_customer']).optional(),
});
/** Minor units that come to about half a dollar (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts). */
const MINIMUM = 50;
const listParams = z.strictObject({
  ...pageParams,
  created: timeRange.optional(),
  customer: text.optional(),
});

export function findIntent(world: World, id: string, param?: string): PaymentIntent {
  const intent = world.state.paymentIntents.get(id);
  if (intent === undefined) throw missing('payment_intent', id, param);
  return intent;
}

function create(world: World, params: z.output<typeof createParams>): PaymentIntent {
  if (params.amount < MINIMUM && params.currency.toLowerCase() === 'usd')
    throw invalid('Amount must be at least $0.50 usd', { code: 'amount_too_small', param: 'amount' });
  const customer = params.customer === undefined ? null : findCustomer(world, params.customer, 'customer');
  const method =
    params.payment_method === undefined
      ? undefined
      : findPaymentMethod(world, params.payment_method, 'payment_method');
  const intent = createIntent(world, {
    amount: params.amount,
    currency: params.currency.toLowerCase(),
    customer: customer?.id ?? null,
    description: params.description ?? null,
    metadata: mergeMetadata(null, params.metadata),
    setupFutureUsage: params.setup_future_usage ?? null,
    invoice: null,
    methodTypes: params.allowed_payment_method_types ?? params.payment_method_types,
  });
  intent.receipt_email = params.receipt_email ?? null;
  intent.capture_method = params.capture_method ?? intent.capture_method;
  intent.confirmation_method = params.confirmation_method ?? intent.confirmation_method;
  intent.statement_descriptor = params.statement_descriptor ?? null;
  intent.statement_descriptor_suffix = params.statement_descriptor_suffix ?? null;
  if (method !== undefined)
    Object.assign(intent, { payment_method: method.id, status: 'requires_confirmation' });
  if (params.confirm === true) confirm(world, intent, params);
  return intent;
}

function update(world: World, intent: PaymentIntent, params: z.output<typeof updateParams>): PaymentIntent {
  const { amount, currency, customer, payment_method: method } = params;
  if (intent.status === 'succeeded' && amount !== undefined)
    throw invalid(
      "This PaymentIntent's amount could not be updated because it has a status of succeeded. You may only update the amount of a PaymentIntent with one of the following statuses: requires_payment_method, requires_confirmation, requires_action.",
      { code: 'payment_intent_unexpected_state', payment_intent: structuredClone(intent) },
    );
  Object.assign(
    intent,
    given({
      amount,
      capture_method: params.capture_method,
      currency: currency?.toLowerCase(),
      customer: customer === undefined ? undefined : findCustomer(world, customer, 'customer').id,
      description: params.description,
      receipt_email: params.receipt_email,
      setup_future_usage: params.setup_future_usage,
    }),
    { metadata: mergeMetadata(intent.metadata, params.metadata) },
  );
  if (method !== undefined)
    Object.assign(intent, {
      payment_method: findPaymentMethod(world, method, 'payment_method').id,
      status: intent.status === 'requires_payment_method' ? 'requires_confirmation' : intent.status,
    });
  return intent;
}

function confirm(world: World, intent: PaymentIntent, params: z.output<typeof confirmParams>): void {
  if (['succeeded', 'canceled', 'requires_capture', 'processing'].includes(intent.status))
    throw invalid(
      `You cannot confirm this PaymentIntent because it has already ${intent.status === 'canceled' ? 'been canceled' : 'succeeded after being previously confirmed'}.`,
      { code: 'payment_intent_unexpected_state', payment_intent: structuredClone(intent) },
    );
  intent.capture_method = params.capture_method ?? intent.capture_method;
  const named =
    params.payment_method === undefined
      ? undefined
      : findPaymentMethod(world, params.payment_method, 'payment_method').id;
  const chosen = named ?? intent.payment_method;
  const invoice = invoiceOf(world, intent);
  const fallback = invoice === undefined ? null : payingMethod(world, intent.customer ?? '', null);
  const method = chosen ?? fallback;
  if (method === null && invoice === undefined)
    throw invalid(
      "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment method or ConfirmationToken.",
      { code: 'payment_intent_unexpected_state', payment_intent: structuredClone(intent) },
    );
  if (invoice !== undefined) {
    const { outcome } = attemptInvoice(world, invoice, { method, onSession: true });
    if (outcome !== 'succeeds' && outcome !== 'requires_action') throw cardError(intent, outcome);
    return;
  }
  const outcome = confirmIntent(world, intent, {
    method,
    onSession: params.off_session !== true,
    returnUrl: params.return_url ?? null,
  });
  if (outcome === 'succeeds' || (outcome === 'requires_action' && params.off_session !== true)) return;
  throw cardError(intent, outcome);
}

export const paymentIntentRoutes: Route[] = [
  route('POST', '/payment_intents', createParams, ({ world, params, version }) => {
    refuseRemoved(params, version, 'payment_method_types');
    return create(world, params);
  }),
  route('GET', '/payment_intents', listParams, ({ world, params, path }) =>
    page(
      world.state.paymentIntents.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        (params.customer === undefined || one.customer === params.customer),
    ),
  ),
  route('GET', '/payment_intents/:id', noParams, ({ world, id }) => findIntent(world, id)),
  route('POST', '/payment_intents/:id', updateParams, ({ world, params, id }) =>
    update(world, findIntent(world, id), params),
  ),
  route('POST', '/payment_intents/:id/capture', captureParams, ({ world, params, id }) => {
    const intent = findIntent(world, id);
    captureIntent(world, intent, params.amount_to_capture);
    intent.metadata = mergeMetadata(intent.metadata, params.metadata);
    return intent;
  }),
  route('POST', '/payment_intents/:id/confirm', confirmParams, ({ world, params, id }) => {
    const intent = findIntent(world, id);
    confirm(world, intent, params);
    return intent;
  }),
  route('POST', '/payment_intents/:id/cancel', cancelParams, ({ world, params, id }) => {
    const intent = findIntent(world, id);
    if (intent.status === 'succeeded' || intent.status === 'canceled')
      throw invalid(`You cannot cancel this PaymentIntent because it has a status of ${intent.status}.`, {
        code: 'payment_intent_unexpected_state',
      });
    cancelIntent(world, intent, params.cancellation_reason ?? null);
    return intent;
  }),
];
