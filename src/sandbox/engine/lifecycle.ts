import { isFinalizationDue } from '../invoice-wait.ts';
import type { JobKind } from '../scheduler.ts';
import type { World } from '../world.ts';
import { settleCharge } from './charges.ts';
import { settleDelayedPayment } from './checkout.ts';
import { attemptInvoice, finalizeAndCollect, voidInvoice } from './invoicing.ts';
import { renewSubscription } from './renewal.ts';
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

function expirePendingUpdate(world: World, id: string): void {
  const subscription = world.state.subscriptions.get(id);
  const held = world.state.heldChanges.get(id);
  if (subscription === undefined || held === undefined || subscription.pending_update === null) return;
  if (subscription.pending_update.expires_at > world.now()) return;
  world.state.heldChanges.delete(id);
  const invoice = world.state.invoices.get(held.invoice);
  if (invoice?.status === 'open') voidInvoice(world, invoice);
  world.update('customer.subscription.updated', subscription, { pending_update: null });
  world.emit('customer.subscription.pending_update_expired', subscription);
}

/** What to do when something falls due. Each looks first whether it still applies: plans are never withdrawn. */
const HANDLERS: Record<Exclude<JobKind, 'webhook_retries'>, Handler> = {
  subscription_renews: (world, id) => {
    const subscription = world.state.subscriptions.get(id);
    if (subscription !== undefined) renewSubscription(world, subscription);
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
  },
};

export function runJob(world: World, kind: Exclude<JobKind, 'webhook_retries'>, id: string): void {
  HANDLERS[kind](world, id);
}
