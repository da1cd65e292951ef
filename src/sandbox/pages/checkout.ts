import { CHECKOUT_OUTCOMES, completeSession } from '../engine/checkout.ts';
import { money } from '../engine/lines.ts';
import { StripeError } from '../errors.ts';
import type { CheckoutSession } from '../wire.ts';
import type { World } from '../world.ts';
import { document, html } from './html.ts';

export type PageAnswer = { status: number; html: string } | { redirect: string };

const NOTICES: Record<string, string> = {
  card_declined: 'Your card was declined.',
  insufficient_funds: 'Your card has insufficient funds.',
  requires_action: 'Your bank asks you to authenticate this payment.',
};

function successUrl(session: CheckoutSession): string {
  return (session.success_url ?? '').replaceAll('{CHECKOUT_SESSION_ID}', session.id);
}

function button(session: CheckoutSession, outcome: string, label: string, main = false) {
  return html`<form method="post" action="/c/pay/${session.id}"><input type="hidden" name="outcome" value="${outcome}">
<button class="${main ? 'main' : ''}">${label}</button></form>`;
}

function checkoutPage(world: World, session: CheckoutSession, notice: string | undefined): string {
  const items = world.state.sessionLineItems.get(session.id) ?? [];
  const currency = session.currency ?? 'usd';
  const total = money(session.amount_total ?? 0, currency);
  const authenticating = notice === NOTICES.requires_action;
  return document(
    'Checkout',
    html`<h1>${session.mode === 'subscription' ? 'Subscribe' : 'Pay'}: ${total}</h1>
<table>${items.map((item) => html`<tr><td>${item.quantity ?? 1} × ${item.description ?? ''}</td><td>${money(item.amount_total, currency)}</td></tr>`)}</table>
${notice === undefined ? html`` : html`<p class="note">${notice}</p>`}
<p><label>Card<input value="4242 4242 4242 4242" readonly></label></p>
${button(session, 'succeeds', authenticating ? 'Complete authentication' : `Pay ${total}`, true)}
${button(session, 'card_declined', 'Decline')}${button(session, 'requires_action', '3-D Secure')}${button(session, 'abandon', 'Abandon')}`,
  );
}

function closedPage(session: CheckoutSession): string {
  const done = session.status === 'complete';
  return document(
    'Checkout',
    html`<h1>${done ? 'You are all done here' : 'This Checkout session has expired'}</h1>`,
  );
}

export function showCheckout(world: World, session: CheckoutSession): PageAnswer {
  if (session.status !== 'open') return { status: 200, html: closedPage(session) };
  return { status: 200, html: checkoutPage(world, session, undefined) };
}

export function submitCheckout(
  world: World,
  session: CheckoutSession,
  form: Record<string, unknown>,
): PageAnswer {
  if (session.status !== 'open') return { status: 409, html: closedPage(session) };
  const outcome = CHECKOUT_OUTCOMES.find((one) => one === form.outcome);
  if (outcome === undefined)
    throw new StripeError(400, 'invalid_request_error', 'Unknown outcome', { param: 'outcome' });
  completeSession(world, session, outcome);
  if (outcome === 'abandon')
    return session.cancel_url === null ? showCheckout(world, session) : { redirect: session.cancel_url };
  const notice = NOTICES[outcome];
  if (notice !== undefined) return { status: 200, html: checkoutPage(world, session, notice) };
  return { redirect: successUrl(session) };
}
