/** The types we subscribe to and where each leads; all others are counted and ignored (stripe.md B1). */
import type { Context } from '../context.ts';
import type { EventPointer } from '../store/inbox.ts';
import { syncCustomer } from './customer-events.ts';
import { alertCatalogueDrift } from './prices.ts';
import { syncCheckoutSession, syncInvoice, syncSubscription } from './sync.ts';
import { syncCharge, syncCreditNote, syncDispute, syncRefund } from './sync-payment.ts';

/** @returns null where the object is nothing of ours; otherwise the event has been marked handled with its effects */
export type Sync = (context: Context, objectId: string, eventId?: string) => Promise<unknown>;

/**
 * None of them carries an effect of its own: which object it points at is all that matters. Deliberately absent:
 * invoice.payment_succeeded (a subset of invoice.paid), invoice.created (unpaid), payment_intent.* and
 * charge.succeeded (they name no invoice).
 */
export const SYNCS: Record<string, Sync> = {
  'checkout.session.completed': syncCheckoutSession,
  'checkout.session.async_payment_succeeded': syncCheckoutSession,
  'checkout.session.async_payment_failed': syncCheckoutSession,
  'checkout.session.expired': syncCheckoutSession,
  'customer.subscription.created': syncSubscription,
  'customer.subscription.updated': syncSubscription,
  'customer.subscription.deleted': syncSubscription,
  'customer.subscription.paused': syncSubscription,
  'customer.subscription.resumed': syncSubscription,
  'customer.subscription.trial_will_end': syncSubscription,
  'customer.subscription.pending_update_applied': syncSubscription,
  'customer.subscription.pending_update_expired': syncSubscription,
  'invoice.paid': syncInvoice,
  'invoice.payment_failed': syncInvoice,
  'invoice.payment_action_required': syncInvoice,
  'invoice.finalization_failed': syncInvoice,
  'invoice.voided': syncInvoice,
  'invoice.marked_uncollectible': syncInvoice,
  'charge.refunded': syncCharge,
  'refund.created': syncRefund,
  'refund.updated': syncRefund,
  'refund.failed': syncRefund,
  'charge.dispute.created': syncDispute,
  'charge.dispute.updated': syncDispute,
  'charge.dispute.funds_withdrawn': syncDispute,
  'charge.dispute.funds_reinstated': syncDispute,
  'charge.dispute.closed': syncDispute,
  'credit_note.created': syncCreditNote,
  'credit_note.voided': syncCreditNote,
  'customer.updated': syncCustomer,
  'customer.deleted': syncCustomer,
  'price.updated': alertCatalogueDrift,
  'product.updated': alertCatalogueDrift,
};

export const HANDLED_EVENT_TYPES: readonly string[] = Object.keys(SYNCS);

/** What an operator should hear of, beside what it means for credits. */
const ALERTS: Record<string, string> = {
  'invoice.finalization_failed':
    'Stripe cannot finalize an invoice (tax, address): it will not be paid until mended',
  'invoice.voided': 'An invoice was voided',
  'invoice.marked_uncollectible': 'An invoice was given up as uncollectible',
};

export function alertOf({ log }: Context, event: EventPointer): void {
  const text = ALERTS[event.type];
  if (text === undefined) return;
  const subject = { alert: event.type.replace('.', '_'), eventId: event.id, objectId: event.objectId };
  log.warn(subject, text);
}
