import { invalid, StripeError } from '../errors.ts';
import { newId, randomText } from '../ids.ts';
import { attachPaymentMethod, findPaymentMethod } from '../resources/payment-methods.ts';
import type { SetupIntent } from '../wire.ts';
import type { World } from '../world.ts';
import { declineOf } from './test-cards.ts';

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
  given: { method: string | undefined; returnUrl?: string | undefined; authenticated?: boolean },
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
  if (outcome === 'succeeds' && wanted === 'requires_action' && given.authenticated !== true) {
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
