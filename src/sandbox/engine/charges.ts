import { DAY } from '../calendar.ts';
import { newId, randomText } from '../ids.ts';
import { NO_BILLING_DETAILS } from '../resources/payment-methods.ts';
import type { PaymentOutcome } from '../state.ts';
import type { BalanceTransaction, Charge, PaymentIntent, PaymentMethod } from '../wire.ts';
import type { World } from '../world.ts';
import { declineOf } from './test-cards.ts';

const SETTLES_AFTER_DAYS = 7;

/** Money in or out of the account's balance; Stripe's US card fee is 2.9 % + 30 cents and is not given back. */
export function createBalanceTransaction(
  world: World,
  entry: {
    amount: number;
    currency: string;
    source: string;
    type: 'charge' | 'refund' | 'refund_failure' | 'adjustment';
    description: string | null;
  },
): BalanceTransaction {
  const fee = entry.type === 'charge' ? Math.round(entry.amount * 0.029 + 30) : 0;
  const settles = Math.floor(world.now() / DAY) * DAY + SETTLES_AFTER_DAYS * DAY;
  const transaction = {
    id: newId('txn'),
    object: 'balance_transaction',
    amount: entry.amount,
    available_on: settles,
    balance_type: 'payments',
    created: world.now(),
    currency: entry.currency,
    description: entry.description,
    exchange_rate: null,
    fee,
    fee_details:
      fee === 0
        ? []
        : [
            {
              amount: fee,
              application: null,
              currency: entry.currency,
              description: 'Stripe processing fees',
              type: 'stripe_fee',
            },
          ],
    net: entry.amount - fee,
    reporting_category: entry.type === 'adjustment' ? 'dispute' : entry.type,
    source: entry.source,
    status: 'pending',
    type: entry.type,
  } satisfies BalanceTransaction;
  world.state.balanceTransactions.set(transaction.id, transaction);
  return transaction;
}

function debitPayment(
  debit: NonNullable<PaymentMethod['sepa_debit']>,
): NonNullable<Charge['payment_method_details']> {
  const { bank_code, branch_code, country, fingerprint, last4 } = debit;
  return {
    sepa_debit: {
      bank_code,
      branch_code,
      country,
      fingerprint,
      last4,
      mandate: null,
    },
    type: 'sepa_debit',
  };
}

function paymentDetails(
  method: PaymentMethod,
  amount: number,
): NonNullable<Charge['payment_method_details']> {
  if (method.sepa_debit !== undefined) return debitPayment(method.sepa_debit);
  const card = method.card;
  return {
    card: {
      amount_authorized: amount,
      authorization_code: randomText(6),
      brand: card?.brand ?? 'visa',
      checks: card?.checks ?? null,
      country: card?.country ?? null,
      electronic_commerce_indicator: null,
      exp_month: card?.exp_month ?? 12,
      exp_year: card?.exp_year ?? 2030,
      extended_authorization: { status: 'disabled' },
      fingerprint: card?.fingerprint ?? null,
      funding: card?.funding ?? null,
      incremental_authorization: { status: 'unavailable' },
      installments: null,
      last4: card?.last4 ?? null,
      mandate: null,
      multicapture: { status: 'unavailable' },
      network: card?.brand ?? null,
      network_token: { used: false },
      network_transaction_id: randomText(15),
      overcapture: { maximum_amount_capturable: amount, status: 'unavailable' },
      regulated_status: 'unregulated',
      three_d_secure: null,
      transaction_link_id: null,
      wallet: null,
    },
    type: 'card',
  };
}

function outcomeDetails(outcome: PaymentOutcome): NonNullable<Charge['outcome']> {
  const declined = outcome !== 'succeeds';
  const decline = declineOf(outcome);
  return {
    advice_code: declined ? decline.advice : null,
    network_advice_code: null,
    network_decline_code: declined ? decline.networkCode : null,
    network_status: declined ? 'declined_by_network' : 'approved_by_network',
    reason: declined ? (decline.declineCode ?? decline.code) : null,
    risk_level: 'normal',
    risk_score: 16,
    seller_message: declined ? decline.sellerMessage : 'Payment complete.',
    type: declined ? 'issuer_declined' : 'authorized',
  };
}

export function createCharge(
  world: World,
  intent: PaymentIntent,
  method: PaymentMethod,
  outcome: PaymentOutcome,
): Charge {
  const paid = outcome === 'succeeds';
  const decline = declineOf(outcome);
  const id = newId('ch');
  const charge = {
    id,
    object: 'charge',
    amount: intent.amount,
    amount_captured: paid ? intent.amount : 0,
    amount_refunded: 0,
    application: null,
    application_fee: null,
    application_fee_amount: null,
    balance_transaction: null,
    billing_details: method.billing_details ?? NO_BILLING_DETAILS,
    calculated_statement_descriptor: 'TOLLGATE SANDBOX',
    captured: paid,
    created: world.now(),
    currency: intent.currency,
    customer: intent.customer,
    description: intent.description,
    destination: null,
    dispute: null,
    disputed: false,
    failure_balance_transaction: null,
    failure_code: paid ? null : decline.code,
    failure_message: paid ? null : decline.message,
    fraud_details: {},
    livemode: false,
    metadata: { ...intent.metadata },
    on_behalf_of: null,
    order: null,
    outcome: outcomeDetails(outcome),
    paid,
    payment_intent: intent.id,
    payment_method: method.id,
    payment_method_details: paymentDetails(method, intent.amount),
    radar_options: {},
    receipt_email: null,
    receipt_number: null,
    receipt_url: paid ? `${world.baseUrl()}/receipts/${id}` : null,
    refunded: false,
    review: null,
    shipping: null,
    source: null,
    source_transfer: null,
    statement_descriptor: null,
    statement_descriptor_suffix: null,
    status: paid ? 'succeeded' : 'failed',
    transfer_data: null,
    transfer_group: null,
  } satisfies Charge;
  world.state.charges.set(id, charge);
  return charge;
}

/** With capture_method automatic_async the balance transaction follows a moment later, as charge.updated. */
export function settleCharge(world: World, charge: Charge, announce: boolean): void {
  if (charge.balance_transaction !== null || !charge.paid || !charge.captured) return;
  const { amount_captured: amount, currency, id, description } = charge;
  const transaction = createBalanceTransaction(world, {
    amount,
    currency,
    source: id,
    type: 'charge',
    description,
  });
  if (announce) world.update('charge.updated', charge, { balance_transaction: transaction.id });
  else charge.balance_transaction = transaction.id;
}
