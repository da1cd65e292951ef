import { z } from 'zod';
import { confirmSetup, createSetupIntent } from '../engine/setup.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  cosmetic,
  flag,
  inRange,
  mergeMetadata,
  metadata,
  notModelled,
  pageParams,
  text,
  timeRange,
} from '../http/params.ts';
import { type Route, refuseRemoved, route } from '../http/route.ts';
import type { SetupIntent } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { findPaymentMethod } from './payment-methods.ts';

const shared = {
  customer: text.optional(),
  customer_account: notModelled,
  description: text.optional(),
  metadata: metadata.optional(),
  payment_method: text.optional(),
};
const confirming = {
  confirmation_token: notModelled,
  mandate_data: cosmetic,
  payment_method_data: notModelled,
  payment_method_options: cosmetic,
  return_url: text.optional(),
  use_stripe_sdk: cosmetic,
};
const createParams = z.strictObject({
  ...shared,
  ...confirming,
  allowed_payment_method_types: z.array(text).optional(),
  attach_to_self: notModelled,
  automatic_payment_methods: z
    .strictObject({ enabled: flag, allow_redirects: z.enum(['always', 'never']).optional() })
    .optional(),
  confirm: flag.optional(),
  excluded_payment_method_types: cosmetic,
  flow_directions: notModelled,
  on_behalf_of: notModelled,
  payment_method_configuration: notModelled,
  payment_method_types: z.array(text).optional(),
  single_use: notModelled,
  usage: z.enum(['off_session', 'on_session']).optional(),
});
const updateParams = z.strictObject({ ...shared, payment_method_options: cosmetic });
const confirmParams = z.strictObject({ ...confirming, payment_method: text.optional() });
const listParams = z.strictObject({
  ...pageParams,
  created: timeRange.optional(),
  customer: text.optional(),
  payment_method: text.optional(),
});

function find(world: World, id: string): SetupIntent {
  const intent = world.state.setupIntents.get(id);
  if (intent === undefined) throw missing('setupintent', id, 'intent');
  return intent;
}

function create(world: World, params: z.output<typeof createParams>): SetupIntent {
  const customer = params.customer === undefined ? null : findCustomer(world, params.customer, 'customer').id;
  const intent = createSetupIntent(world, {
    customer,
    metadata: mergeMetadata(null, params.metadata),
    types: params.allowed_payment_method_types ?? params.payment_method_types,
  });
  intent.description = params.description ?? null;
  intent.usage = params.usage ?? 'off_session';
  if (params.payment_method !== undefined) {
    intent.payment_method = findPaymentMethod(world, params.payment_method, 'payment_method').id;
    intent.status = 'requires_confirmation';
  }
  if (params.confirm === true) confirmSetup(world, intent, { method: undefined });
  return intent;
}

export const setupIntentRoutes: Route[] = [
  route('POST', '/setup_intents', createParams, ({ world, params, version }) => {
    refuseRemoved(params, version, 'payment_method_types');
    return create(world, params);
  }),
  route('GET', '/setup_intents', listParams, ({ world, params, path }) =>
    page(
      world.state.setupIntents.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        (params.customer === undefined || one.customer === params.customer) &&
        (params.payment_method === undefined || one.payment_method === params.payment_method),
    ),
  ),
  route('GET', '/setup_intents/:id', z.strictObject({ client_secret: text.optional() }), ({ world, id }) =>
    find(world, id),
  ),
  route('POST', '/setup_intents/:id', updateParams, ({ world, params, id }) => {
    const intent = find(world, id);
    intent.description = params.description ?? intent.description;
    intent.metadata = mergeMetadata(intent.metadata, params.metadata);
    if (params.customer !== undefined) intent.customer = findCustomer(world, params.customer, 'customer').id;
    if (params.payment_method !== undefined) {
      intent.payment_method = findPaymentMethod(world, params.payment_method, 'payment_method').id;
      intent.status = 'requires_confirmation';
    }
    return intent;
  }),
  route('POST', '/setup_intents/:id/confirm', confirmParams, ({ world, params, id }) => {
    const intent = find(world, id);
    confirmSetup(world, intent, { method: params.payment_method, returnUrl: params.return_url });
    return intent;
  }),
  route(
    'POST',
    '/setup_intents/:id/cancel',
    z.strictObject({
      cancellation_reason: z.enum(['abandoned', 'duplicate', 'requested_by_customer']).optional(),
    }),
    ({ world, params, id }) => {
      const intent = find(world, id);
      if (intent.status === 'succeeded' || intent.status === 'canceled')
        throw invalid(`You cannot cancel this SetupIntent because it has a status of ${intent.status}.`, {
          code: 'setup_intent_unexpected_state',
        });
      intent.status = 'canceled';
      intent.cancellation_reason = params.cancellation_reason ?? null;
      world.emit('setup_intent.canceled', intent);
      return intent;
    },
  ),
];
