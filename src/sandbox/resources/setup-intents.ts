import { z } from 'zod';
import { declineOf } from '../engine/test-cards.ts';
import { invalid, missing, StripeError } from '../errors.ts';
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
import { newId, randomText } from '../ids.ts';
import type { SetupIntent } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { attachPaymentMethod, findPaymentMethod } from './payment-methods.ts';

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

export function createSetupIntent(
  world: World,
  given: { customer: string | null; metadata: Record<string, string>; types?: string[] | undefined },
): SetupIntent {
  const id = newId('seti');
  const intent = {
    id,
    object: 'setup_intent',
    allowed_payment_method_types: null,
    application: null,
    automatic_payment_methods:
      given.types === undefined ? { allow_redirects: 'always', enabled: true } : null,
    cancellation_reason: null,
    client_secret: `${id}_secret_${randomText(24)}`,
    created: world.now(),
    customer: given.customer,
    customer_account: null,
    description: null,
    excluded_payment_method_types: null,
    flow_directions: null,
    last_setup_error: null,
    latest_attempt: null,
    livemode: false,
    managed_payments: null,
    mandate: null,
    metadata: given.metadata,
    next_action: null,
    on_behalf_of: null,
    payment_method: null,
    payment_method_configuration_details:
      given.types === undefined ? { id: 'pmc_1SandboxTollgate0default', parent: null } : null,
    payment_method_options: {
      card: { mandate_options: null, network: null, request_three_d_secure: 'automatic' },
    },
    payment_method_types: given.types ?? ['card', 'link'],
    single_use_mandate: null,
    status: 'requires_payment_method',
    usage: 'off_session',
  } satisfies SetupIntent;
  world.state.setupIntents.set(id, intent);
  world.emit('setup_intent.created', intent);
  return intent;
}

/** A card is kept for later: it may want its owner, or be refused as on any attachment. */
export function confirmSetup(
  world: World,
  intent: SetupIntent,
  given: { method: string | undefined; returnUrl?: string | undefined },
): void {
  if (intent.status === 'succeeded' || intent.status === 'canceled')
    throw invalid(
      `You cannot confirm this SetupIntent because it has already ${intent.status === 'canceled' ? 'been canceled' : 'succeeded'}.`,
      { code: 'setup_intent_unexpected_state' },
    );
  const id = given.method ?? intent.payment_method;
  if (id === null)
    throw invalid(
      "You cannot confirm this SetupIntent because it's missing a payment method. Update the SetupIntent with a payment method and then confirm it again.",
      { code: 'parameter_missing', param: 'payment_method' },
    );
  const method = findPaymentMethod(world, id, 'payment_method');
  intent.payment_method = method.id;
  const outcome = world.state.cardBehaviours.get(method.id)?.attach ?? 'succeeds';
  const wanted = world.state.cardBehaviours.get(method.id)?.charge;
  if (outcome === 'succeeds' && wanted === 'requires_action') {
    intent.status = 'requires_action';
    intent.next_action = { type: 'use_stripe_sdk', use_stripe_sdk: {} };
    world.emit('setup_intent.requires_action', intent);
    return;
  }
  if (outcome !== 'succeeds') throw refuse(world, intent, outcome);
  if (intent.customer !== null) attachPaymentMethod(world, method.id, intent.customer);
  Object.assign(intent, { status: 'succeeded', next_action: null } satisfies Partial<SetupIntent>);
  world.emit('setup_intent.succeeded', intent);
}

function refuse(world: World, intent: SetupIntent, outcome: Parameters<typeof declineOf>[0]): StripeError {
  const { code, declineCode, message } = declineOf(outcome);
  intent.status = 'requires_payment_method';
  intent.payment_method = null;
  intent.last_setup_error = {
    code: code as NonNullable<NonNullable<SetupIntent['last_setup_error']>['code']>,
    ...(declineCode === undefined ? {} : { decline_code: declineCode }),
    message,
    type: 'card_error',
  };
  world.emit('setup_intent.setup_failed', intent);
  return new StripeError(402, 'card_error', message, {
    code,
    ...(declineCode === undefined ? {} : { decline_code: declineCode }),
  });
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
