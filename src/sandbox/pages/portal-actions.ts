import { periodEnd } from '../engine/subscription-times.ts';
import { StripeError } from '../errors.ts';
import type { Subscription } from '../wire.ts';
import { callApi } from './api.ts';
import { AUTHENTICATION_FAILED, chosenCard, REFUSED, savedMethod } from './cards.ts';
import { type PageAnswer, pageOf } from './html.ts';
import { challenge } from './parts.ts';
import { changeParams, isDeferred, scheduleChange } from './portal-change.ts';
import { askedSubscription, goHome, type Visit } from './portal-session.ts';

const pathOf = ({ id }: Subscription): string => `/v1/subscriptions/${id}`;

function allow(enabled: boolean): void {
  if (!enabled)
    throw new StripeError(403, 'invalid_request_error', 'This is switched off in the portal configuration.');
}

/** In flexible billing mode the Portal sets only `cancel_at`, unlike the API (stripe.md A1). */
export function cancel(visit: Visit): PageAnswer {
  const { world, configuration, asked } = visit;
  const { enabled, mode, proration_behavior: proration } = configuration.features.subscription_cancel;
  allow(enabled);
  const subscription = askedSubscription(visit);
  const details = {
    ...(asked.feedback ? { feedback: asked.feedback } : {}),
    ...(asked.comment ? { comment: asked.comment } : {}),
  };
  const said = Object.keys(details).length === 0 ? {} : { cancellation_details: details };
  // A change that was to come is given up with the subscription.
  if (subscription.schedule !== null)
    callApi(world, 'POST', `/v1/subscription_schedules/${subscription.schedule}/release`, {});
  if (mode === 'immediately')
    callApi(world, 'DELETE', pathOf(subscription), {
      ...said,
      prorate: String(proration !== 'none'),
      invoice_now: String(proration === 'always_invoice'),
    });
  else callApi(world, 'POST', pathOf(subscription), { ...said, cancel_at: String(periodEnd(subscription)) });
  return goHome(visit, 'canceled');
}

export function undo(visit: Visit): PageAnswer {
  allow(visit.configuration.features.subscription_cancel.enabled);
  const subscription = askedSubscription(visit);
  // Whoever had set it through the API set both fields; a person who changes his mind means both.
  callApi(
    visit.world,
    'POST',
    pathOf(subscription),
    subscription.cancel_at_period_end ? { cancel_at_period_end: 'false' } : { cancel_at: '' },
  );
  return goHome(visit, 'kept');
}

export function changePlan(visit: Visit): PageAnswer {
  const { world, configuration } = visit;
  allow(configuration.features.subscription_update.enabled);
  const subscription = askedSubscription(visit);
  if (isDeferred(visit, subscription)) {
    scheduleChange(visit, subscription);
    return goHome(visit, 'scheduled');
  }
  callApi(world, 'POST', pathOf(subscription), {
    ...changeParams(visit, subscription),
    payment_behavior: 'pending_if_incomplete',
  });
  // Not live until it is paid: the invoice's own page says why and takes another card.
  if (subscription.pending_update === null) return goHome(visit, 'updated');
  const invoice = world.state.invoices.get(String(subscription.latest_invoice));
  return invoice?.hosted_invoice_url == null
    ? goHome(visit, 'updated')
    : { redirect: new URL(invoice.hosted_invoice_url).pathname };
}

/** The customer's default from now on, and that of subscriptions which had a card of their own. */
function useFromNowOn({ world, session }: Visit, method: string): void {
  callApi(world, 'POST', `/v1/customers/${session.customer}`, {
    invoice_settings: { default_payment_method: method },
  });
  for (const one of world.state.subscriptions.values())
    if (one.customer === session.customer && one.ended_at === null && one.default_payment_method !== null)
      callApi(world, 'POST', pathOf(one), { default_payment_method: method });
}

export function changePaymentMethod(visit: Visit): PageAnswer {
  const { world, session, configuration, asked, path } = visit;
  allow(configuration.features.payment_method_update.enabled);
  const { card = '', outcome } = asked;
  const { charge } = chosenCard(card);
  if (charge === 'requires_action' && outcome === undefined)
    return pageOf('3-D Secure', challenge(path, 'saving this card', { action: 'payment_method', card }));
  if (charge === 'requires_action' && outcome !== 'succeeds')
    throw new StripeError(402, 'card_error', AUTHENTICATION_FAILED);
  if (charge === 'insufficient_funds') throw new StripeError(402, 'card_error', REFUSED.insufficient_funds);
  useFromNowOn(visit, savedMethod(world, card, session.customer).id);
  return goHome(visit, 'payment_method');
}

export function changeDetails(visit: Visit): PageAnswer {
  const { world, session, configuration, asked } = visit;
  const { enabled, allowed_updates: allowed } = configuration.features.customer_update;
  allow(enabled);
  const given = (['name', 'email', 'phone'] as const).flatMap((key) =>
    allowed.includes(key) && asked[key] !== undefined ? [[key, asked[key]] as const] : [],
  );
  callApi(world, 'POST', `/v1/customers/${session.customer}`, Object.fromEntries(given));
  return goHome(visit, 'details');
}
