import { money } from '../engine/lines.ts';
import { setCancelAt } from '../engine/subscription-create.ts';
import { StripeError } from '../errors.ts';
import type { PortalSession, Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import type { PageAnswer } from './checkout.ts';
import { document, html } from './html.ts';

const day = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 10);

function live(world: World, session: PortalSession): Subscription[] {
  return [...world.state.subscriptions.values()].filter(
    (one) => one.customer === session.customer && one.ended_at === null,
  );
}

function subscriptionView(subscription: Subscription, path: string) {
  const item = subscription.items.data[0];
  const canceling = subscription.cancel_at !== null;
  const price = money(item?.price.unit_amount ?? 0, subscription.currency);
  const until = day(subscription.cancel_at ?? item?.current_period_end ?? 0);
  return html`<h2>${price} per ${item?.price.recurring?.interval ?? ''}</h2>
<table><tr><td>Status</td><td>${subscription.status}</td></tr>
<tr><td>${canceling ? 'Ends on' : 'Renews on'}</td><td>${until}</td></tr></table>
<form method="post" action="${path}"><input type="hidden" name="subscription" value="${subscription.id}">
<input type="hidden" name="action" value="${canceling ? 'undo' : 'cancel'}">
<button>${canceling ? "Don't cancel" : 'Cancel at period end'}</button></form>`;
}

export function showPortal(world: World, session: PortalSession): PageAnswer {
  const path = new URL(session.url).pathname;
  const subscriptions = live(world, session);
  const body = html`<h1>Your subscription</h1>
${subscriptions.length === 0 ? html`<p>You have no subscription.</p>` : subscriptions.map((one) => subscriptionView(one, path))}
${session.return_url === null ? html`` : html`<p><a href="${session.return_url}">Return</a></p>`}`;
  return { status: 200, html: document('Customer portal', body) };
}

/** In flexible billing mode the Portal sets only `cancel_at`, unlike the API (stripe.md A1). */
export function submitPortal(
  world: World,
  session: PortalSession,
  form: Record<string, unknown>,
): PageAnswer {
  const subscription = live(world, session).find((one) => one.id === form.subscription);
  const { action } = form;
  if (subscription === undefined || (action !== 'cancel' && action !== 'undo'))
    throw new StripeError(400, 'invalid_request_error', 'Unknown subscription or action', {
      param: 'action',
    });
  const changed = structuredClone(subscription);
  setCancelAt(world, changed, action === 'cancel' ? 'period_end' : null);
  world.update('customer.subscription.updated', subscription, { ...changed, cancel_at_period_end: false });
  return { redirect: new URL(session.url).pathname };
}
