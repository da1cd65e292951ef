import { z } from 'zod';
import { cancelIntent, createIntent } from '../engine/intents.ts';
import { attemptInvoice, invoiceOf } from '../engine/invoicing.ts';
import { cardError, confirmIntent, payingMethod } from '../engine/payments.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  address,
  flag,
  inRange,
  mergeMetadata,
  metadata,
  noParams,
  pageParams,
  positive,
  text,
  timeRange,
} from '../http/params.ts';
import { type Route, refuseRemoved, route } from '../http/route.ts';
import type { PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { findPaymentMethod } from './payment-methods.ts';

const createParams = z.strictObject({
  allowed_payment_method_types: z.array(text).optional(),
  amount: positive,
  automatic_payment_methods: z
    .strictObject({ enabled: flag, allow_redirects: z.enum(['always', 'never']).optional() })
    .optional(),
  confirm: flag.optional(),
  currency: text,
  customer: text.optional(),
  description: text.optional(),
  metadata: metadata.optional(),
  off_session: flag.optional(),
  payment_method: text.optional(),
  payment_method_types: z.array(text).optional(),
  receipt_email: text.optional(),
  return_url: text.optional(),
  setup_future_usage: z.enum(['off_session', 'on_session']).optional(),
  shipping: z.strictObject({ address, name: text, phone: text.optional() }).optional(),
});
const updateParams = z.strictObject({ description: text.optional(), metadata: metadata.optional() });
const confirmParams = z.strictObject({
  off_session: flag.optional(),
  payment_method: text.optional(),
  return_url: text.optional(),
});
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
  if (method !== undefined)
    Object.assign(intent, { payment_method: method.id, status: 'requires_confirmation' });
  if (params.confirm === true) confirm(world, intent, params);
  return intent;
}

function confirm(world: World, intent: PaymentIntent, params: z.output<typeof confirmParams>): void {
  if (intent.status === 'succeeded' || intent.status === 'canceled')
    throw invalid(
      `You cannot confirm this PaymentIntent because it has already ${intent.status === 'canceled' ? 'been canceled' : 'succeeded after being previously confirmed'}.`,
      { code: 'payment_intent_unexpected_state', payment_intent: structuredClone(intent) },
    );
  const given =
    params.payment_method === undefined
      ? undefined
      : findPaymentMethod(world, params.payment_method, 'payment_method').id;
  const chosen = intent.payment_method ?? given;
  const method = chosen ?? payingMethod(world, intent.customer ?? '', null);
  const invoice = invoiceOf(world, intent);
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
  route('POST', '/payment_intents/:id', updateParams, ({ world, params, id }) => {
    const intent = findIntent(world, id);
    intent.description = params.description ?? intent.description;
    intent.metadata = mergeMetadata(intent.metadata, params.metadata);
    return intent;
  }),
  route('POST', '/payment_intents/:id/confirm', confirmParams, ({ world, params, id }) => {
    const intent = findIntent(world, id);
    confirm(world, intent, params);
    return intent;
  }),
  route(
    'POST',
    '/payment_intents/:id/cancel',
    z.strictObject({ cancellation_reason: text.optional() }),
    ({ world, params, id }) => {
      const intent = findIntent(world, id);
      if (intent.status === 'succeeded' || intent.status === 'canceled')
        throw invalid(`You cannot cancel this PaymentIntent because it has a status of ${intent.status}.`, {
          code: 'payment_intent_unexpected_state',
        });
      cancelIntent(world, intent, params.cancellation_reason ?? 'requested_by_customer');
      return intent;
    },
  ),
];
