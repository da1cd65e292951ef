import type { CardBehaviour, PaymentOutcome } from '../state.ts';

export interface TestCard extends CardBehaviour {
  brand: string;
  last4: string;
  funding: string;
  country: string;
}

const card = (
  brand: string,
  last4: string,
  charge: PaymentOutcome = 'succeeds',
  attach: PaymentOutcome = 'succeeds',
  funding = 'credit',
): TestCard => ({ brand, last4, charge, attach, funding, country: 'US' });

/** A declined test card already fails when it is attached; only chargeCustomerFail waits for the charge. */
const declined = (last4: string, outcome: PaymentOutcome): TestCard => card('visa', last4, outcome, outcome);

/** https://docs.stripe.com/testing: by the part of the id after `pm_card_`, or of a token after `tok_`. */
const CARDS: Record<string, TestCard> = {
  visa: card('visa', '4242'),
  visa_debit: card('visa', '5556', 'succeeds', 'succeeds', 'debit'),
  mastercard: card('mastercard', '4444'),
  mastercard_debit: card('mastercard', '3222', 'succeeds', 'succeeds', 'debit'),
  mastercard_prepaid: card('mastercard', '5100', 'succeeds', 'succeeds', 'prepaid'),
  amex: card('amex', '8431'),
  discover: card('discover', '9424'),
  diners: card('diners', '3237'),
  jcb: card('jcb', '0505'),
  unionpay: card('unionpay', '0005'),
  us: card('visa', '4242'),
  chargeCustomerFail: card('visa', '0341', 'card_declined'),
  visa_chargeDeclined: declined('0002', 'card_declined'),
  chargeDeclined: declined('0002', 'card_declined'),
  visa_chargeDeclinedInsufficientFunds: declined('9995', 'insufficient_funds'),
  chargeDeclinedInsufficientFunds: declined('9995', 'insufficient_funds'),
  visa_chargeDeclinedLostCard: declined('9987', 'lost_card'),
  visa_chargeDeclinedStolenCard: declined('9979', 'stolen_card'),
  chargeDeclinedExpiredCard: declined('0069', 'expired_card'),
  chargeDeclinedIncorrectCvc: declined('0127', 'incorrect_cvc'),
  visa_chargeDeclinedProcessingError: declined('0119', 'processing_error'),
  visa_chargeDeclinedExpiredCard: declined('0069', 'expired_card'),
  visa_chargeDeclinedIncorrectCvc: declined('0127', 'incorrect_cvc'),
  chargeDeclinedLostCard: declined('9987', 'lost_card'),
  chargeDeclinedStolenCard: declined('9979', 'stolen_card'),
  chargeDeclinedProcessingError: declined('0119', 'processing_error'),
  threeDSecure2Required: card('visa', '3220', 'requires_action'),
  threeDSecureRequired: card('visa', '3063', 'requires_action'),
  authenticationRequired: { ...card('visa', '3184', 'requires_action'), country: 'DE' },
  authenticationRequiredOnSetup: {
    ...card('visa', '3155', 'requires_action'),
    authenticatedAfterSetup: true,
  },
  authenticationRequiredSetupForOffSession: { ...card('visa', '3155'), authenticatedAfterSetup: true },
  createDispute: { ...card('visa', '0259'), dispute: 'chargeback' },
  createDisputeProductNotReceived: { ...card('visa', '2685'), dispute: 'chargeback' },
  refundFail: { ...card('visa', '5126'), refund: 'fails' },
  pendingRefund: { ...card('visa', '7726'), refund: 'pending' },
  createDisputeInquiry: { ...card('visa', '1976'), dispute: 'inquiry' },
};

export function testCard(name: string): TestCard | undefined {
  return CARDS[name.replace(/^(?:pm_card_|tok_)/, '')];
}

/** By a typed number: the published test numbers differ in their last four digits. */
export function testCardByNumber(number: string): TestCard | undefined {
  const digits = number.replaceAll(/[\s-]/g, '');
  if (!/^\d{14,16}$/.test(digits)) return undefined;
  return Object.values(CARDS).find((one) => digits.endsWith(one.last4));
}

interface Decline {
  code: string;
  declineCode?: string;
  message: string;
  sellerMessage: string;
  /** What to do about it, and the network's own code (https://docs.stripe.com/declines/codes#advice-codes). */
  advice: 'confirm_card_data' | 'do_not_try_again' | 'try_again_later';
  networkCode: string;
}

const DECLINES: Partial<Record<PaymentOutcome, Decline>> = {
  insufficient_funds: {
    code: 'card_declined',
    declineCode: 'insufficient_funds',
    message: 'Your card has insufficient funds.',
    sellerMessage: 'The bank returned the decline code `insufficient_funds`.',
    advice: 'try_again_later',
    networkCode: '51',
  },
  lost_card: {
    code: 'card_declined',
    declineCode: 'lost_card',
    message: 'Your card was declined.',
    sellerMessage: 'The bank returned the decline code `lost_card`.',
    advice: 'do_not_try_again',
    networkCode: '41',
  },
  stolen_card: {
    code: 'card_declined',
    declineCode: 'stolen_card',
    message: 'Your card was declined.',
    sellerMessage: 'The bank returned the decline code `stolen_card`.',
    advice: 'do_not_try_again',
    networkCode: '43',
  },
  expired_card: {
    code: 'expired_card',
    message: 'Your card has expired.',
    sellerMessage: 'The bank returned the decline code `expired_card`.',
    advice: 'confirm_card_data',
    networkCode: '54',
  },
  incorrect_cvc: {
    code: 'incorrect_cvc',
    message: "Your card's security code is incorrect.",
    sellerMessage: 'The bank returned the decline code `incorrect_cvc`.',
    advice: 'confirm_card_data',
    networkCode: '82',
  },
  processing_error: {
    code: 'processing_error',
    message: 'An error occurred while processing your card. Try again in a little bit.',
    sellerMessage: 'The bank returned the decline code `processing_error`.',
    advice: 'try_again_later',
    networkCode: '96',
  },
};

/** https://docs.stripe.com/declines/codes */
export function declineOf(outcome: PaymentOutcome): Decline {
  return (
    DECLINES[outcome] ?? {
      code: 'card_declined',
      declineCode: 'generic_decline',
      message: 'Your card was declined.',
      sellerMessage: 'The bank did not return any further details with this decline.',
      advice: 'try_again_later',
      networkCode: '01',
    }
  );
}
