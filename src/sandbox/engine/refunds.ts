import { invalid } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Charge, Refund } from '../wire.ts';
import type { World } from '../world.ts';
import { createBalanceTransaction, settleCharge } from './charges.ts';
import { money } from './lines.ts';

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
  const id = newId('re');
  const { currency } = charge;
  const transaction = createBalanceTransaction(world, {
    amount: -amount,
    currency,
    source: id,
    type: 'refund',
    description: null,
  });
  const refund = {
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
    reason: request.reason ?? null,
    receipt_number: null,
    source_transfer_reversal: null,
    status: 'succeeded',
    transfer_reversal: null,
  } satisfies Refund;
  world.state.refunds.set(id, refund);
  world.emit('refund.created', refund);
  world.update('charge.refunded', charge, {
    amount_refunded: charge.amount_refunded + amount,
    refunded: amount === left,
  });
  world.emit('refund.updated', refund);
  return refund;
}
