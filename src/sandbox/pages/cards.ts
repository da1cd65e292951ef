import { StripeError } from '../errors.ts';
import { attachPaymentMethod, cardByName, createPaymentMethod } from '../resources/payment-methods.ts';
import type { PaymentMethod } from '../wire.ts';
import type { World } from '../world.ts';
import { type Html, html } from './html.ts';

export type CardOutcome = 'succeeds' | 'card_declined' | 'insufficient_funds' | 'requires_action';

interface Card {
  number: string;
  says: string;
  charge: CardOutcome;
}

/** Stripe's own test numbers (https://docs.stripe.com/testing); nothing has to be typed. */
const CARDS: Record<string, Card> = {
  visa: { number: '4242 4242 4242 4242', says: 'Works', charge: 'succeeds' },
  visa_chargeDeclined: { number: '4000 0000 0000 0002', says: 'Is declined', charge: 'card_declined' },
  visa_chargeDeclinedInsufficientFunds: {
    number: '4000 0000 0000 9995',
    says: 'Has insufficient funds',
    charge: 'insufficient_funds',
  },
  threeDSecure2Required: {
    number: '4000 0000 0000 3220',
    says: 'Asks for 3-D Secure',
    charge: 'requires_action',
  },
  chargeCustomerFail: {
    number: '4000 0000 0000 0341',
    says: 'Can be saved, fails when charged',
    charge: 'card_declined',
  },
};

export const AUTHENTICATION_FAILED =
  'We are unable to authenticate your payment method. Please choose a different payment method and try again.';

export const REFUSED: Record<Exclude<CardOutcome, 'succeeds' | 'requires_action'>, string> = {
  card_declined: 'Your card was declined.',
  insufficient_funds: 'Your card has insufficient funds.',
};

export interface Choice {
  value: string;
  name: string;
  says: string;
}

export function cardChoices(chosen = 'visa', more: readonly Choice[] = []): Html {
  const cards = Object.entries(CARDS).map(([value, { number, says }]) => ({ value, name: number, says }));
  return html`<fieldset><legend>Payment method</legend>
${[...cards, ...more].map(
  ({ value, name, says }) =>
    html`<label class="choice"><input type="radio" name="card" value="${value}"${
      value === chosen ? html` checked` : html``
    }> <b>${name}</b> <small>${says}</small></label>`,
)}</fieldset>`;
}

export function chosenCard(name: string): Card {
  const card = Object.hasOwn(CARDS, name) ? CARDS[name] : undefined;
  if (card === undefined)
    throw new StripeError(400, 'invalid_request_error', 'Unknown card', { param: 'card' });
  return card;
}

export function newMethod(
  world: World,
  name: string,
  details: { email?: string; name?: string } = {},
): PaymentMethod {
  chosenCard(name);
  return createPaymentMethod(world, cardByName(name), details);
}

/** A card that its bank refuses is refused here already, with a StripeError of its words. */
export function savedMethod(world: World, name: string, customer: string): PaymentMethod {
  return attachPaymentMethod(world, newMethod(world, name).id, customer);
}
