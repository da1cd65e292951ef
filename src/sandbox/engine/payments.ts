import { invalid, StripeError } from '../errors.ts';
import { findPaymentMethod } from '../resources/payment-methods.ts';
import type { PaymentOutcome } from '../state.ts';
import type { Charge, PaymentIntent, PaymentMethod } from '../wire.ts';
import type { World } from '../world.ts';
import { createCharge, settleCharge } from './charges.ts';
import { openDispute } from './disputes.ts';
import { declineOf } from './test-cards.ts';

export interface Confirmation {
  method: string | null;
  /** A person is present and can authenticate; renewals happen without one. */
  onSession: boolean;
  returnUrl?: string | null;
  /** Overrides card and customer: what the person on the page decided. */
  outcome?: PaymentOutcome;
}

/** Who decides, strongest first: the person on the page, the control API for this customer, the test card. */
function outcomeOf(
  world: World,
  intent: PaymentIntent,
  method: PaymentMethod,
  request: Confirmation,
): PaymentOutcome {
  if (request.outcome !== undefined) return request.outcome;
  const ordered = world.state.customerOutcomes.get(intent.customer ?? '');
  if (ordered !== undefined) return ordered;
  const behaviour = world.state.cardBehaviours.get(method.id);
  if (behaviour === undefined) return 'succeeds';
  return behaviour.authenticatedAfterSetup === true && !request.onSession ? 'succeeds' : behaviour.charge;
}

/** One attempt to charge an intent. `no_method` = there is nothing to charge. */
export function confirmIntent(
  world: World,
  intent: PaymentIntent,
  request: Confirmation,
): PaymentOutcome | 'no_method' {
  if (request.method === null) return failWithoutMethod(world, intent);
  const method = findPaymentMethod(world, request.method, 'payment_method');
  const outcome = outcomeOf(world, intent, method, request);
  intent.payment_method = method.id;
  if (outcome === 'requires_action') {
    askForAuthentication(world, intent, request.returnUrl ?? null);
    return outcome;
  }
  const charge = createCharge(world, intent, method, outcome);
  intent.next_action = null;
  intent.latest_charge = charge.id;
  if (outcome !== 'succeeds') {
    failIntent(world, intent, outcome, charge.id);
    return outcome;
  }
  intent.last_payment_error = null;
  if (intent.capture_method === 'manual') {
    authorize(world, intent, charge);
    return outcome;
  }
  intent.status = 'succeeded';
  intent.amount_received = intent.amount;
  if (intent.capture_method === 'automatic_async')
    world.scheduler.plan('charge_settles', world.now() + 1, charge.id);
  else settleCharge(world, charge, false);
  world.emit('charge.succeeded', charge);
  world.emit('payment_intent.succeeded', intent);
  const dispute = world.state.cardBehaviours.get(method.id)?.dispute;
  if (dispute !== undefined) openDispute(world, charge, { inquiry: dispute === 'inquiry' });
  return outcome;
}

/** The money is held on the card until it is captured or let go. */
function authorize(world: World, intent: PaymentIntent, charge: Charge): void {
  Object.assign(charge, { amount_captured: 0, captured: false } satisfies Partial<Charge>);
  Object.assign(intent, {
    amount_capturable: intent.amount,
    status: 'requires_capture',
  } satisfies Partial<PaymentIntent>);
  world.emit('charge.succeeded', charge);
  world.emit('payment_intent.amount_capturable_updated', intent);
}

/** Takes what was held, or a part of it; the rest goes back. */
export function captureIntent(world: World, intent: PaymentIntent, wanted: number | undefined): void {
  const charge = world.state.charges.get(intent.latest_charge ?? '');
  if (intent.status !== 'requires_capture' || charge === undefined)
    throw invalid(
      `This PaymentIntent could not be captured because it has a status of ${intent.status}. Only a PaymentIntent with one of the following statuses may be captured: requires_capture.`,
      { code: 'payment_intent_unexpected_state', payment_intent: structuredClone(intent) },
    );
  const amount = wanted ?? intent.amount_capturable;
  if (amount > intent.amount_capturable)
    throw invalid(
      `The amount_to_capture (${amount}) is greater than the amount that can be captured (${intent.amount_capturable}).`,
      { code: 'amount_too_large', param: 'amount_to_capture' },
    );
  Object.assign(intent, { amount_capturable: 0, amount_received: amount, status: 'succeeded' });
  Object.assign(charge, {
    amount_captured: amount,
    amount_refunded: charge.amount - amount,
    captured: true,
  } satisfies Partial<Charge>);
  settleCharge(world, charge, false);
  world.emit('charge.captured', charge);
  world.emit('payment_intent.succeeded', intent);
}

function failWithoutMethod(world: World, intent: PaymentIntent): 'no_method' {
  intent.status = 'requires_payment_method';
  intent.last_payment_error = {
    code: 'payment_intent_payment_attempt_failed',
    message: 'There is no payment method to charge.',
    type: 'invalid_request_error',
  };
  world.emit('payment_intent.payment_failed', intent);
  return 'no_method';
}

function askForAuthentication(world: World, intent: PaymentIntent, returnUrl: string | null): void {
  intent.status = 'requires_action';
  intent.next_action =
    returnUrl === null
      ? { type: 'use_stripe_sdk', use_stripe_sdk: {} }
      : {
          redirect_to_url: { return_url: returnUrl, url: `${world.baseUrl()}/3d_secure_2/${intent.id}` },
          type: 'redirect_to_url',
        };
  world.emit('payment_intent.requires_action', intent);
}

function failIntent(world: World, intent: PaymentIntent, outcome: PaymentOutcome, chargeId: string): void {
  const { code, declineCode, message, advice, networkCode } = declineOf(outcome);
  const method = world.state.paymentMethods.get(intent.payment_method ?? '');
  intent.status = 'requires_payment_method';
  intent.payment_method = null;
  intent.last_payment_error = {
    advice_code: advice,
    charge: chargeId,
    code: code as NonNullable<NonNullable<PaymentIntent['last_payment_error']>['code']>,
    ...(declineCode === undefined ? {} : { decline_code: declineCode }),
    doc_url: `https://stripe.com/docs/error-codes/${code.replaceAll('_', '-')}`,
    message,
    network_decline_code: networkCode,
    type: 'card_error',
  };
  if (method !== undefined)
    Object.assign(intent.last_payment_error, { payment_method: structuredClone(method) });
  const charge = world.state.charges.get(chargeId);
  if (charge !== undefined) world.emit('charge.failed', charge);
  world.emit('payment_intent.payment_failed', intent);
}

/** The 402 that a failed attempt answers with. */
export function cardError(intent: PaymentIntent | null, outcome: PaymentOutcome | 'no_method'): StripeError {
  if (outcome === 'requires_action')
    return new StripeError(
      402,
      'card_error',
      'Your card was declined. This transaction requires authentication.',
      {
        code: 'authentication_required',
        decline_code: 'authentication_required',
        ...(intent === null ? {} : { payment_intent: structuredClone(intent) }),
      },
    );
  if (outcome === 'no_method')
    return new StripeError(
      400,
      'invalid_request_error',
      'This customer has no attached payment source or default payment method. Please consider adding a default payment method. For more information, visit https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.',
      { code: 'resource_missing' },
    );
  const { code, declineCode, message, advice, networkCode } = declineOf(outcome);
  return new StripeError(402, 'card_error', message, {
    ...(intent?.latest_charge == null ? {} : { charge: intent.latest_charge }),
    advice_code: advice,
    code,
    ...(declineCode === undefined ? {} : { decline_code: declineCode }),
    network_decline_code: networkCode,
    ...(intent === null ? {} : { payment_intent: structuredClone(intent) }),
  });
}

/** The method a subscription or customer pays with (https://docs.stripe.com/api/subscriptions#default_payment_method). */
export function payingMethod(
  world: World,
  customerId: string,
  subscriptionMethod: string | null,
): string | null {
  const fallback = world.state.customers.get(customerId)?.invoice_settings.default_payment_method ?? null;
  return subscriptionMethod ?? fallback;
}
