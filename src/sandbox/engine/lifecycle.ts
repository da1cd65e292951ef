import { isFinalizationDue } from '../invoice-wait.ts';
import type { JobKind } from '../scheduler.ts';
import type { World } from '../world.ts';
import { settleCharge } from './charges.ts';
import { settleDelayedPayment } from './checkout.ts';
import { invoiceOverdue, voidInvoice } from './invoice-closing.ts';
import { attemptInvoice, finalizeAndCollect } from './invoicing.ts';
import { settleRefund } from './refunds.ts';
import { visitSubscription } from './renewal.ts';
import { visitSchedule } from './schedules.ts';
import { endSubscription } from './subscription-end.ts';

type Handler = (world: World, id: string) => void;

function expireIncomplete(world: World, id: string): void {
  const subscription = world.state.subscriptions.get(id);
  if (subscription?.status !== 'incomplete') return;
  const invoice = world.state.invoices.get(subscription.latest_invoice ?? '');
  if (invoice?.status === 'open') voidInvoice(world, invoice);
  world.update('customer.subscription.updated', subscription, {
    status: 'incomplete_expired',
    ended_at: world.now(),
  });
}

/** An unpaid change or resumption is forgotten after 23 hours, and its invoice voided (stripe.md A1). */
function expirePendingUpdate(world: World, id: string): void {
  const subscription = world.state.subscriptions.get(id);
  const held = world.state.heldChanges.get(id);
  if (subscription === undefined || held === undefined || held.expiresAt > world.now()) return;
  world.state.heldChanges.delete(id);
  const invoice = world.state.invoices.get(held.invoice);
  if (invoice?.status === 'open') voidInvoice(world, invoice);
  if (subscription.pending_update === null) return;
  world.update('customer.subscription.updated', subscription, { pending_update: null });
  world.emit('customer.subscription.pending_update_expired', subscription);
}

/** What to do when something falls due. Each looks first whether it still applies: plans are never withdrawn. */
const HANDLERS: Record<Exclude<JobKind, 'webhook_retries'>, Handler> = {
  subscription_renews: (world, id) => {
    const schedule = world.state.schedules.get(id);
    if (schedule !== undefined) visitSchedule(world, schedule);
    const subscription = world.state.subscriptions.get(id);
    if (subscription === undefined) return;
    // Its schedule first: what a new phase puts on it is what the renewal bills.
    const own = world.state.schedules.get(subscription.schedule ?? '');
    if (own !== undefined && (own.current_phase?.end_date ?? Infinity) <= world.now())
      visitSchedule(world, own);
    visitSubscription(world, subscription);
  },
  subscription_ends: (world, id) => {
    const subscription = world.state.subscriptions.get(id);
    if (subscription === undefined || subscription.ended_at !== null) return;
    if (subscription.cancel_at !== null && subscription.cancel_at <= world.now())
      endSubscription(world, subscription, 'cancellation_requested');
  },
  incomplete_expires: expireIncomplete,
  pending_update_expires: expirePendingUpdate,
  trial_will_end: (world, id) => {
    const subscription = world.state.subscriptions.get(id);
    if (subscription?.status === 'trialing') world.emit('customer.subscription.trial_will_end', subscription);
  },
  invoice_finalizes: (world, id) => {
    const invoice = world.state.invoices.get(id);
    if (invoice?.status !== 'draft' || invoice.auto_advance !== true) return;
    if (isFinalizationDue(world, invoice)) finalizeAndCollect(world, invoice);
  },
  invoice_retries: (world, id) => {
    const invoice = world.state.invoices.get(id);
    if (invoice?.collection_method === 'send_invoice') invoiceOverdue(world, invoice);
    const due = invoice?.next_payment_attempt ?? null;
    if (invoice?.status === 'open' && due !== null && due <= world.now())
      attemptInvoice(world, invoice, { onSession: false });
  },
  session_expires: (world, id) => {
    const session = world.state.sessions.get(id);
    if (session?.status !== 'open' || session.expires_at > world.now()) return;
    Object.assign(session, { status: 'expired', url: null });
    world.emit('checkout.session.expired', session);
  },
  payment_settles: settleDelayedPayment,
  charge_settles: (world, id) => {
    const charge = world.state.charges.get(id);
    if (charge !== undefined) settleCharge(world, charge, true);
    const refund = world.state.refunds.get(id);
    if (refund !== undefined) settleRefund(world, refund);
  },
};

export function runJob(world: World, kind: Exclude<JobKind, 'webhook_retries'>, id: string): void {
  HANDLERS[kind](world, id);
}
