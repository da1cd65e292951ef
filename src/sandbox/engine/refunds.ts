import { invalid } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Charge, Refund } from '../wire.ts';
import type { World } from '../world.ts';
import { createBalanceTransaction, settleCharge } from './charges.ts';
import { money } from './line-object.ts';

export interface RefundRequest {
  amount?: number | undefined;
  reason?: 'duplicate' | 'fraudulent' | 'requested_by_customer' | undefined;
  metadata: Record<string, string>;
}

/** `amount_refunded` is cumulative; several partial refunds add up to the charge (stripe.md A3). */
export function createRefund(world: World, charge: Charge, request: RefundRequest): Refund {
  const left = charge.amount - charge.amount_refunded;
  const amount = request.amount ?? left;
  if (!charge.paid) throw invalid(`Charge ${charge.id} has not been paid, so it cannot be refunded.`);
  if (charge.refunded || left === 0)
    throw invalid(`Charge ${charge.id} has already been refunded.`, { code: 'charge_already_refunded' });
  if (amount < 1)
    throw invalid('Invalid positive integer', { code: 'parameter_invalid_integer', param: 'amount' });
  if (amount > left)
    throw invalid(
      `Refund amount (${money(amount, charge.currency)}) is greater than unrefunded amount on charge (${money(left, charge.currency)})`,
      { param: 'amount' },
    );
  if (charge.disputed && world.state.disputes.get(charge.dispute ?? '')?.is_charge_refundable === false)
    throw invalid(`Charge ${charge.id} has been charged back; cannot issue a refund.`, {
      code: 'charge_disputed',
    });
  settleCharge(world, charge, false);
  const refund = buildRefund(world, charge, amount, request);
  world.state.refunds.set(refund.id, refund);
  world.emit('refund.created', refund);
  world.update('charge.refunded', charge, {
    amount_refunded: charge.amount_refunded + amount,
    refunded: amount === left,
  });
  const behaviour = world.state.cardBehaviours.get(charge.payment_method ?? '')?.refund;
  if (behaviour === undefined) world.emit('refund.updated', refund);
  else world.scheduler.plan('charge_settles', world.now() + 1, refund.id);
  return refund;
}

function buildRefund(world: World, charge: Charge, amount: number, request: RefundRequest): Refund {
  const id = newId('re');
  const { currency } = charge;
  const transaction = createBalanceTransaction(world, {
    amount: -amount,
    currency,
    source: id,
    type: 'refund',
    description: null,
  });
  const pending = world.state.cardBehaviours.get(charge.payment_method ?? '')?.refund === 'pending';
  return {
    id,
    object: 'refund',
    amount,
    balance_transaction: transaction.id,
    charge: charge.id,
    created: world.now(),
    currency,
    customer: charge.customer,
    customer_account: null,
    destination_details: {
      card: { reference_status: 'pending', reference_type: 'acquirer_reference_number', type: 'refund' },
      type: 'card',
    },
    metadata: request.metadata,
    payment_intent: charge.payment_intent,
    payment_method: charge.payment_method,
    ...(pending ? { pending_reason: 'processing' as const } : {}),
    reason: request.reason ?? null,
    receipt_number: null,
    source_transfer_reversal: null,
    status: pending ? 'pending' : 'succeeded',
    transfer_reversal: null,
  } satisfies Refund;
}

/** The bank's answer to a refund of a card that says so (https://docs.stripe.com/testing#refunds). */
export function settleRefund(world: World, refund: Refund): void {
  const charge = world.state.charges.get(refund.charge ?? '');
  const behaviour = world.state.cardBehaviours.get(refund.payment_method ?? '')?.refund;
  if (charge === undefined || behaviour === undefined) return;
  if (behaviour === 'pending' && refund.status === 'pending') {
    delete refund.pending_reason;
    announce(world, refund, { status: 'succeeded' });
    return;
  }
  if (behaviour === 'fails' && refund.status === 'succeeded') failRefund(world, charge, refund, 'failed');
}

/** The money comes back, and with it what can be refunded again. */
export function failRefund(
  world: World,
  charge: Charge,
  refund: Refund,
  status: 'failed' | 'canceled',
): void {
  const transaction = createBalanceTransaction(world, {
    amount: refund.amount,
    currency: refund.currency,
    source: refund.id,
    type: 'refund_failure',
    description: null,
  });
  refund.failure_balance_transaction = transaction.id;
  if (status === 'failed') refund.failure_reason = 'unknown';
  world.update('charge.updated', charge, {
    amount_refunded: charge.amount_refunded - refund.amount,
    refunded: false,
  });
  announce(world, refund, { status });
  if (status === 'failed') world.emit('refund.failed', refund);
}

/** Stripe announces a refund's change under both names. */
function announce(world: World, refund: Refund, changes: Partial<Refund>): void {
  world.update('refund.updated', refund, changes);
  world.emit('charge.refund.updated', refund);
}
