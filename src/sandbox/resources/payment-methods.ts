import { z } from 'zod';
import { declineOf, type TestCard, testCard, testCardByNumber } from '../engine/test-cards.ts';
import { invalid, missing, StripeError } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  address,
  given,
  integer,
  mergeMetadata,
  metadata,
  noParams,
  pageParams,
  text,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { newId } from '../ids.ts';
import type { PaymentMethod } from '../wire.ts';
import type { World } from '../world.ts';

const billingDetails = z.strictObject({
  address: address.optional(),
  email: text.optional(),
  name: text.optional(),
  phone: text.optional(),
});
const createParams = z.strictObject({
  allow_redisplay: z.enum(['always', 'limited', 'unspecified']).optional(),
  billing_details: billingDetails.optional(),
  card: z
    .strictObject({
      token: text.optional(),
      number: text.optional(),
      exp_month: integer.optional(),
      exp_year: integer.optional(),
      cvc: text.optional(),
    })
    .optional(),
  metadata: metadata.optional(),
  sepa_debit: z.strictObject({ iban: text }).optional(),
  type: z.enum(['card', 'sepa_debit']),
});
const updateParams = z.strictObject({
  allow_redisplay: z.enum(['always', 'limited', 'unspecified']).optional(),
  billing_details: billingDetails.optional(),
  metadata: metadata.optional(),
});
const listParams = z.strictObject({ ...pageParams, customer: text.optional(), type: text.optional() });

type BillingDetails = z.output<typeof billingDetails>;

export const NO_BILLING_DETAILS = {
  address: { city: null, country: null, line1: null, line2: null, postal_code: null, state: null },
  email: null,
  name: null,
  phone: null,
  tax_id: null,
} satisfies PaymentMethod['billing_details'];

function withDetails(
  current: PaymentMethod['billing_details'],
  details: BillingDetails | undefined,
): PaymentMethod['billing_details'] {
  const { address: place, ...rest } = details ?? {};
  return {
    ...current,
    ...given(rest),
    address: { ...NO_BILLING_DETAILS.address, ...current.address, ...given(place ?? {}) },
  };
}

function cardDetails(world: World, card: TestCard): NonNullable<PaymentMethod['card']> {
  const expires = new Date(world.clock.nowMs());
  return {
    brand: card.brand,
    checks: { address_line1_check: null, address_postal_code_check: null, cvc_check: 'pass' },
    country: card.country,
    display_brand: card.brand,
    // Stripe's own test methods expire a year from the month they are made in [recordings].
    exp_month: expires.getUTCMonth() + 1,
    exp_year: expires.getUTCFullYear() + 1,
    fingerprint: `fp${card.brand}${card.last4}0000000000`.slice(0, 16),
    funding: card.funding,
    generated_from: null,
    last4: card.last4,
    networks: { available: [card.brand], preferred: null },
    regulated_status: 'unregulated',
    three_d_secure_usage: { supported: true },
    wallet: null,
  };
}

function baseMethod(world: World, details: BillingDetails | undefined) {
  return {
    id: newId('pm'),
    object: 'payment_method',
    allow_redisplay: 'unspecified',
    billing_details: withDetails(NO_BILLING_DETAILS, details),
    created: world.now(),
    customer: null,
    customer_account: null,
    livemode: false,
    metadata: {},
  } satisfies Partial<PaymentMethod>;
}

/** A bank account; how a payment from it ends is written in the test IBAN (https://docs.stripe.com/testing). */
export function createSepaDebit(world: World, iban: string, details?: BillingDetails): PaymentMethod {
  const account = iban.replaceAll(' ', '').toUpperCase();
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$/.test(account))
    throw invalid('The IBAN you provided is invalid.', {
      code: 'invalid_bank_account_iban',
      param: 'sepa_debit[iban]',
    });
  const method = {
    ...baseMethod(world, details),
    sepa_debit: {
      bank_code: account.slice(4, 9),
      branch_code: '',
      country: account.slice(0, 2),
      fingerprint: `fp${account.slice(-14)}`,
      generated_from: { charge: null, setup_attempt: null },
      last4: account.slice(-4),
    },
    type: 'sepa_debit',
  } satisfies PaymentMethod;
  world.state.paymentMethods.set(method.id, method);
  return method;
}

export function createPaymentMethod(world: World, card: TestCard, details?: BillingDetails): PaymentMethod {
  const method = {
    ...baseMethod(world, details),
    card: cardDetails(world, card),
    type: 'card',
  } satisfies PaymentMethod;
  const { attach, charge, authenticatedAfterSetup, dispute, refund } = card;
  world.state.paymentMethods.set(method.id, method);
  world.state.cardBehaviours.set(method.id, {
    attach,
    charge,
    ...(authenticatedAfterSetup === undefined ? {} : { authenticatedAfterSetup }),
    ...(dispute === undefined ? {} : { dispute }),
    ...(refund === undefined ? {} : { refund }),
  });
  return method;
}

/** A stored method, or a new one for a magic id such as `pm_card_visa`. */
export function findPaymentMethod(world: World, id: string, param = 'id', customer?: string): PaymentMethod {
  const stored = world.state.paymentMethods.get(id);
  if (stored !== undefined) return stored;
  const card = id.startsWith('pm_card_') ? testCard(id) : undefined;
  if (card === undefined)
    throw new StripeError(
      param === 'id' ? 404 : 400,
      'invalid_request_error',
      `No such PaymentMethod: '${id}'`,
      {
        code: 'resource_missing',
        param: param === 'id' ? 'payment_method' : param,
      },
    );
  const method = createPaymentMethod(world, card);
  if (customer !== undefined && param === 'invoice_settings[default_payment_method]')
    method.customer = customer;
  return method;
}

export function attachPaymentMethod(world: World, id: string, customer: string): PaymentMethod {
  const method = findPaymentMethod(world, id);
  if (method.customer !== null && method.customer !== customer)
    throw invalid('The payment method you provided has already been attached to a customer.');
  const outcome = world.state.cardBehaviours.get(method.id)?.attach ?? 'succeeds';
  if (outcome !== 'succeeds') {
    const { code, declineCode, message } = declineOf(outcome);
    throw new StripeError(402, 'card_error', message, {
      code,
      ...(declineCode === undefined ? {} : { decline_code: declineCode }),
      param: '',
    });
  }
  if (method.customer === customer) return method;
  method.customer = customer;
  world.emit('payment_method.attached', method);
  return method;
}

function cardOf(card: z.output<typeof createParams>['card']): TestCard {
  if (card?.number !== undefined) {
    const typed = testCardByNumber(card.number);
    if (typed !== undefined) return typed;
    throw new StripeError(402, 'card_error', 'Your card number is incorrect.', {
      code: 'incorrect_number',
      param: 'number',
    });
  }
  if (card?.token === undefined)
    throw invalid('Missing required param: card.', { code: 'parameter_missing', param: 'card' });
  const found = testCard(card.token);
  if (found === undefined) throw missing('token', card.token, 'card[token]');
  return found;
}

export function cardByName(name: string): TestCard {
  const card = testCard(name);
  if (card === undefined) throw missing('test card', name, 'card');
  return card;
}

export const paymentMethodRoutes: Route[] = [
  route('POST', '/payment_methods', createParams, ({ world, params }) => {
    const { type, card, sepa_debit: debit, billing_details: details } = params;
    if (type === 'sepa_debit' && debit === undefined)
      throw invalid('Missing required param: sepa_debit.', {
        code: 'parameter_missing',
        param: 'sepa_debit',
      });
    const method =
      debit === undefined
        ? createPaymentMethod(world, cardOf(card), details)
        : createSepaDebit(world, debit.iban, details);
    method.metadata = mergeMetadata(null, params.metadata);
    return method;
  }),
  route('GET', '/payment_methods', listParams, ({ world, params, path }) =>
    page(
      world.state.paymentMethods.values(),
      params,
      path,
      (method) => method.customer === (params.customer ?? null),
    ),
  ),
  route('GET', '/payment_methods/:id', noParams, ({ world, id }) => findPaymentMethod(world, id)),
  route('POST', '/payment_methods/:id', updateParams, ({ world, params, id }) => {
    const method = findPaymentMethod(world, id);
    world.update('payment_method.updated', method, {
      billing_details: withDetails(method.billing_details, params.billing_details),
      metadata: mergeMetadata(method.metadata, params.metadata),
    });
    return method;
  }),
  route(
    'POST',
    '/payment_methods/:id/attach',
    z.strictObject({ customer: text }),
    ({ world, params, id }) => {
      if (!world.state.customers.has(params.customer)) throw missing('customer', params.customer, 'customer');
      return attachPaymentMethod(world, id, params.customer);
    },
  ),
  route('POST', '/payment_methods/:id/detach', noParams, ({ world, id }) => {
    const method = findPaymentMethod(world, id);
    if (method.customer === null)
      throw invalid(
        'The payment method you provided is not attached to a customer so detachment is impossible.',
      );
    world.update('payment_method.detached', method, { customer: null });
    return method;
  }),
];
