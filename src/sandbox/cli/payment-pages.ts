import { z } from 'zod';
import { type CheckoutOutcome, completeSession } from '../engine/checkout.ts';
import { cardError } from '../engine/payments.ts';
import { invalid } from '../errors.ts';
import { integer, noParams, text } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { findSession } from '../resources/checkout-sessions.ts';
import { findPaymentMethod } from '../resources/payment-methods.ts';
import type { CheckoutSession, PaymentMethod } from '../wire.ts';
import type { World } from '../world.ts';

/** Stripe's own payment page as its scripts see it; not in the API reference, so no more than the CLI uses. */
function paymentPage(session: CheckoutSession): object {
  const { amount_subtotal: subtotal, amount_total: total, ...rest } = session;
  return {
    ...rest,
    object: 'checkout.payment_page',
    session_id: session.id,
    total_summary: { due: total ?? 0, subtotal: subtotal ?? 0, total: total ?? 0 },
  };
}

/** https://docs.stripe.com/testing#non-card-payments: which test account a bank debit is taken from. */
const DEBITS: Record<string, { outcome: 'async_succeeds' | 'async_fails'; settlesAfter: number }> = {
  '3201': { outcome: 'async_succeeds', settlesAfter: 1 },
  '3202': { outcome: 'async_fails', settlesAfter: 1 },
  '3456': { outcome: 'async_fails', settlesAfter: 1 },
  '3205': { outcome: 'async_succeeds', settlesAfter: 180 },
};

function decided(world: World, method: PaymentMethod): { outcome: CheckoutOutcome; settlesAfter?: number } {
  if (method.type !== 'card')
    return DEBITS[method.sepa_debit?.last4 ?? ''] ?? { outcome: 'async_succeeds', settlesAfter: 1 };
  const charge = world.state.cardBehaviours.get(method.id)?.charge ?? 'succeeds';
  const page = ['succeeds', 'insufficient_funds', 'requires_action'] as const;
  return { outcome: page.find((one) => one === charge) ?? 'card_declined' };
}

function confirm(world: World, session: CheckoutSession, method: string, expected: number | undefined) {
  if (expected !== undefined && expected !== session.amount_total)
    throw invalid('The amount of this session differs from `expected_amount`.', { param: 'expected_amount' });
  const paying = findPaymentMethod(world, method, 'payment_method');
  const { outcome, settlesAfter } = decided(world, paying);
  const { email, name } = paying.billing_details;
  completeSession(world, session, outcome, {
    method: paying,
    ...(email === null ? {} : { email }),
    ...(name === null ? {} : { name }),
    ...(settlesAfter === undefined ? {} : { settlesAfter }),
  });
  // The page was told of a refused card; the session stays open for another try.
  if (outcome === 'card_declined' || outcome === 'insufficient_funds')
    throw cardError(world.state.paymentIntents.get(session.payment_intent ?? '') ?? null, outcome);
  return paymentPage(session);
}

/** The calls with which `stripe trigger checkout.session.completed` pays a session. */
export const paymentPageRoutes: Route[] = [
  route('GET', '/payment_pages/:id', noParams, ({ world, id }) => paymentPage(findSession(world, id))),
  route(
    'POST',
    '/payment_pages/:id/confirm',
    z.strictObject({ expected_amount: integer.optional(), payment_method: text }),
    ({ world, params, id }) =>
      confirm(world, findSession(world, id), params.payment_method, params.expected_amount),
  ),
];
