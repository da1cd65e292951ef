import { DAY } from '../calendar.ts';
import { invalid } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Charge, Dispute } from '../wire.ts';
import type { World } from '../world.ts';
import { createBalanceTransaction } from './charges.ts';

const RESPONSE_DAYS = 9;

const NO_EVIDENCE = {
  access_activity_log: null,
  billing_address: null,
  cancellation_policy: null,
  cancellation_policy_disclosure: null,
  cancellation_rebuttal: null,
  customer_communication: null,
  customer_email_address: null,
  customer_name: null,
  customer_purchase_ip: null,
  customer_signature: null,
  duplicate_charge_documentation: null,
  duplicate_charge_explanation: null,
  duplicate_charge_id: null,
  enhanced_evidence: {},
  product_description: null,
  receipt: null,
  refund_policy: null,
  refund_policy_disclosure: null,
  refund_refusal_explanation: null,
  service_date: null,
  service_documentation: null,
  shipping_address: null,
  shipping_carrier: null,
  shipping_date: null,
  shipping_documentation: null,
  shipping_tracking_number: null,
  uncategorized_file: null,
  uncategorized_text: null,
} satisfies Dispute['evidence'];

export interface DisputeRequest {
  amount?: number | undefined;
  reason?: string | undefined;
  inquiry?: boolean | undefined;
}

/** A chargeback takes the money when it opens; an inquiry (`warning_…`) moves none (stripe.md A3). */
export function openDispute(world: World, charge: Charge, request: DisputeRequest): Dispute {
  const amount = request.amount ?? charge.amount - charge.amount_refunded;
  if (!charge.paid || charge.disputed || amount < 1 || amount > charge.amount)
    throw invalid(`Charge ${charge.id} cannot be disputed for ${amount}.`, { param: 'amount' });
  const inquiry = request.inquiry ?? false;
  const stored: Dispute = {
    id: newId('dp'),
    object: 'dispute',
    amount,
    balance_transactions: [],
    charge: charge.id,
    created: world.now(),
    currency: charge.currency,
    enhanced_eligibility_types: [],
    evidence: NO_EVIDENCE,
    evidence_details: {
      due_by: world.now() + RESPONSE_DAYS * DAY,
      enhanced_eligibility: {},
      has_evidence: false,
      past_due: false,
      submission_count: 0,
      submission_method: 'manual',
    },
    intended_submission_method: null,
    is_charge_refundable: inquiry,
    livemode: false,
    metadata: {},
    payment_intent: charge.payment_intent,
    payment_method_details: {
      card: {
        brand: 'visa',
        case_type: inquiry ? 'inquiry' : 'chargeback',
        network: 'visa',
        network_reason_code: '10.4',
      },
      type: 'card',
    },
    reason: request.reason ?? 'fraudulent',
    status: inquiry ? 'warning_needs_response' : 'needs_response',
  } satisfies Dispute;
  world.state.disputes.set(stored.id, stored);
  charge.disputed = true;
  charge.dispute = stored.id;
  world.emit('charge.dispute.created', stored);
  if (!inquiry) moveFunds(world, stored, -amount, 'charge.dispute.funds_withdrawn');
  return stored;
}

function moveFunds(world: World, dispute: Dispute, amount: number, event: string): void {
  const transaction = createBalanceTransaction(world, {
    amount,
    currency: dispute.currency,
    source: dispute.id,
    type: 'adjustment',
    description: `Chargeback ${amount < 0 ? 'withdrawal' : 'reversal'} for ${dispute.charge}`,
  });
  dispute.balance_transactions = [...dispute.balance_transactions, structuredClone(transaction)];
  world.emit(event, dispute);
}

export function closeDispute(world: World, dispute: Dispute, status: 'won' | 'lost'): void {
  if (['won', 'lost', 'warning_closed'].includes(dispute.status))
    throw invalid('This dispute is already closed.');
  const inquiry = dispute.status.startsWith('warning_');
  dispute.status = inquiry ? 'warning_closed' : status;
  dispute.is_charge_refundable = inquiry;
  world.emit('charge.dispute.closed', dispute);
  if (!inquiry && status === 'won')
    moveFunds(world, dispute, dispute.amount, 'charge.dispute.funds_reinstated');
}

/** Evidence may be kept for later or sent to the bank, once (https://docs.stripe.com/disputes/api). */
export function submitEvidence(
  world: World,
  dispute: Dispute,
  evidence: Record<string, string | null>,
  submit: boolean,
): void {
  if (
    dispute.evidence_details.submission_count > 0 ||
    ['won', 'lost', 'warning_closed'].includes(dispute.status)
  )
    throw invalid('This dispute can no longer be updated: its evidence has been submitted or it is closed.', {
      param: 'evidence',
    });
  const unknown = Object.keys(evidence).find((key) => !(key in dispute.evidence));
  if (unknown !== undefined)
    throw invalid(`Received unknown parameter: evidence[${unknown}]`, {
      code: 'parameter_unknown',
      param: `evidence[${unknown}]`,
    });
  const next = { ...dispute.evidence, ...evidence };
  const inquiry = dispute.status.startsWith('warning_');
  world.update('charge.dispute.updated', dispute, {
    evidence: next,
    evidence_details: {
      ...dispute.evidence_details,
      has_evidence: Object.values(next).some((value) => typeof value === 'string' && value !== ''),
      submission_count: submit ? 1 : 0,
    },
    ...(submit ? { status: inquiry ? ('warning_under_review' as const) : ('under_review' as const) } : {}),
  });
  // In test mode the words themselves decide (https://docs.stripe.com/testing#evidence).
  if (!submit) return;
  if (next.uncategorized_text === 'winning_evidence') closeDispute(world, dispute, 'won');
  if (next.uncategorized_text === 'losing_evidence') closeDispute(world, dispute, 'lost');
}
