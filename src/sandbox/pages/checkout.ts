import { z } from 'zod';
import { CHECKOUT_OUTCOMES, type CheckoutOutcome, completeSession, type Payer } from '../engine/checkout.ts';
import { StripeError } from '../errors.ts';
import type { CheckoutSession } from '../wire.ts';
import type { World } from '../world.ts';
import { AUTHENTICATION_FAILED, cardChoices, chosenCard, newMethod, REFUSED } from './cards.ts';
import { redeemPromotionCode, removePromotionCode } from './checkout-promotion.ts';
import { buttonText, delayedChoices, startsFree, summary } from './checkout-summary.ts';
import { html, NOTHING, type PageAnswer, pageOf } from './html.ts';
import { challenge, link, money, note } from './parts.ts';

const submission = z.strictObject({
  action: z.enum(['pay', 'promotion', 'remove_promotion']).optional(),
  card: z.string().max(100).optional(),
  email: z.string().max(512).optional(),
  name: z.string().max(512).optional(),
  /** The 3-D Secure step's answer; alone, what a script decides for a person. */
  outcome: z.enum(CHECKOUT_OUTCOMES).optional(),
  promotion_code: z.string().max(500).optional(),
});
type Submission = z.output<typeof submission>;

const pathOf = (session: CheckoutSession): string => `/c/pay/${session.id}`;

function successUrl(session: CheckoutSession): string {
  return (session.success_url ?? '').replaceAll('{CHECKOUT_SESSION_ID}', session.id);
}

/** Whom the session knows need not say it again. */
function contactFields(session: CheckoutSession, given: Submission) {
  const known = session.customer !== null ? session.customer_details?.email : session.customer_email;
  if (known != null) return html`<p class="soft">Paying as <strong>${known}</strong></p>`;
  return html`<label class="field"><span>Email</span><input type="email" name="email" autocomplete="email" required value="${given.email ?? session.customer_details?.email ?? ''}"></label>
<label class="field"><span>Name on card</span><input type="text" name="name" autocomplete="name" value="${given.name ?? ''}"></label>`;
}

function checkoutPage(
  world: World,
  session: CheckoutSession,
  given: Submission,
  refusal?: string,
): PageAnswer {
  const free = needsNoCard(world, session);
  const body = html`${link(session.cancel_url, '← Cancel and go back')}
<div class="columns"><section>${summary(world, session)}</section>
<section class="card"><h2>${free ? 'Your details' : 'Pay with a test card'}</h2>${note(refusal, true)}
<form method="post" action="${pathOf(session)}"><input type="hidden" name="action" value="pay">
${contactFields(session, given)}
${free ? NOTHING : cardChoices(given.card, delayedChoices(session))}
<button class="main">${buttonText(world, session)}</button></form></section></div>`;
  return pageOf('Checkout', body);
}

function closedPage(session: CheckoutSession, status: number): PageAnswer {
  const done = session.status === 'complete';
  return pageOf(
    'Checkout',
    html`<div class="narrow"><div class="card"><h1>${done ? 'You are all done here' : 'This Checkout session has expired'}</h1>
<p class="soft">${done ? 'This session has been completed.' : 'Go back to where you came from and start again.'}</p>
${link(done ? successUrl(session) : session.cancel_url, 'Back to the shop', 'button')}</div></div>`,
    status,
  );
}

export function showCheckout(world: World, session: CheckoutSession): PageAnswer {
  return session.status === 'open' ? checkoutPage(world, session, {}) : closedPage(session, 200);
}

const needsNoCard = (world: World, session: CheckoutSession): boolean =>
  session.mode === 'subscription' &&
  startsFree(world, session) &&
  session.payment_method_collection === 'if_required';

/** What the bank says to this choice; who starts with nothing to pay is not charged yet. */
function decide(
  world: World,
  session: CheckoutSession,
  card: string,
): { outcome: CheckoutOutcome; payer: Payer } {
  if (card === 'debit_succeeds') return { outcome: 'async_succeeds', payer: {} };
  if (card === 'debit_fails') return { outcome: 'async_fails', payer: {} };
  if (needsNoCard(world, session)) return { outcome: 'succeeds', payer: { method: null } };
  const { charge } = chosenCard(card);
  const savedOnly = card === 'chargeCustomerFail' && startsFree(world, session);
  return { outcome: savedOnly ? 'succeeds' : charge, payer: { method: newMethod(world, card) } };
}

function contact({ email, name }: Submission): Payer {
  return { ...(email ? { email } : {}), ...(name ? { name } : {}) };
}

function pay(world: World, session: CheckoutSession, given: Submission): PageAnswer {
  const { card = 'visa', outcome: answered } = given;
  const decided = decide(world, session, card);
  const outcome = answered ?? decided.outcome;
  completeSession(world, session, outcome, { ...decided.payer, ...contact(given) });
  if (outcome === 'abandon')
    return session.cancel_url === null ? showCheckout(world, session) : { redirect: session.cancel_url };
  if (outcome === 'requires_action') {
    const amount = money(session.amount_total ?? 0, session.currency ?? 'usd');
    const what = startsFree(world, session) ? 'saving this card' : `a payment of ${amount}`;
    const { card: chosen, email, name } = given;
    return pageOf('3-D Secure', challenge(pathOf(session), what, { card: chosen, email, name }));
  }
  if (outcome === 'card_declined' || outcome === 'insufficient_funds') {
    const authenticated = answered !== undefined && decided.outcome === 'requires_action';
    return checkoutPage(world, session, given, authenticated ? AUTHENTICATION_FAILED : REFUSED[outcome]);
  }
  return { redirect: successUrl(session) };
}

export function submitCheckout(world: World, session: CheckoutSession, form: unknown): PageAnswer {
  if (session.status !== 'open') return closedPage(session, 409);
  const parsed = submission.safeParse(form);
  if (!parsed.success)
    throw new StripeError(400, 'invalid_request_error', 'Unknown outcome or field', { param: 'outcome' });
  const given = parsed.data;
  if (given.action === undefined || given.action === 'pay') return pay(world, session, given);
  if (given.action === 'remove_promotion') {
    removePromotionCode(world, session);
    return { redirect: pathOf(session) };
  }
  const refusal = redeemPromotionCode(world, session, given.promotion_code ?? '');
  return refusal === undefined ? { redirect: pathOf(session) } : checkoutPage(world, session, given, refusal);
}
