/** Money that goes back, or comes again: every event of it leads to the payment, whose cumulative facts decide. */
import type { Context } from '../context.ts';
import { markHandled } from '../store/inbox.ts';
import { paymentsOf } from './fetch.ts';
import {
  type DisputeShape,
  parseCharge,
  parseCreditNote,
  parseDispute,
  parseRefund,
  type RefundShape,
} from './shapes.ts';
import { syncCheckoutSession, syncInvoice } from './sync.ts';

/** What a payment intent paid, with what became of the money. @returns null where it paid nothing of ours */
export async function syncPayment(
  context: Context,
  paymentIntentId: string | null,
  eventId?: string,
): Promise<string | null> {
  if (paymentIntentId === null) return null;
  const { invoices, sessions } = await paymentsOf(context.stripe, paymentIntentId);
  const [only, ...others] = [
    ...invoices.map((id) => (event?: string) => syncInvoice(context, id, event)),
    ...sessions.map(
      (id) => async (event?: string) => (await syncCheckoutSession(context, id, event))?.userId ?? null,
    ),
  ];
  if (only === undefined) return null;
  if (others.length === 0) return only(eventId);
  // One intent may pay several invoices: the event is done when all of them are.
  const userIds = [await only()];
  for (const sync of others) userIds.push(await sync());
  const userId = userIds.find((id) => id !== null) ?? null;
  if (eventId !== undefined && userId !== null) {
    const outcome = `${invoices.length + sessions.length} payments settled`;
    const now = context.clock.now();
    await markHandled(context.pool, eventId, { status: 'handled', outcome, userId, now });
  }
  return userId;
}

export async function syncCharge(
  context: Context,
  chargeId: string,
  eventId?: string,
): Promise<string | null> {
  const charge = parseCharge(await context.stripe.charges.retrieve(chargeId));
  return syncPayment(context, charge.payment_intent, eventId);
}

export async function syncRefund(
  context: Context,
  refundId: string,
  eventId?: string,
): Promise<string | null> {
  return syncReturned(context, parseRefund(await context.stripe.refunds.retrieve(refundId)), eventId);
}

export async function syncDispute(
  context: Context,
  disputeId: string,
  eventId?: string,
): Promise<string | null> {
  return syncReturned(context, parseDispute(await context.stripe.disputes.retrieve(disputeId)), eventId);
}

/** A refund or dispute of a bare charge names no payment intent itself. */
function syncReturned(
  context: Context,
  { payment_intent: intent, charge }: RefundShape | DisputeShape,
  eventId?: string,
): Promise<string | null> {
  return intent === null && charge !== null
    ? syncCharge(context, charge, eventId)
    : syncPayment(context, intent, eventId);
}

export async function syncCreditNote(
  context: Context,
  noteId: string,
  eventId?: string,
): Promise<string | null> {
  const { invoice } = parseCreditNote(await context.stripe.creditNotes.retrieve(noteId));
  return syncInvoice(context, invoice, eventId);
}
