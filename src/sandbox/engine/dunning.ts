import { DAY } from '../calendar.ts';
import type { Invoice } from '../wire.ts';
import type { World } from '../world.ts';

/**
 * Only renewals and updates are retried: an unpaid first invoice expires with its subscription after 23 hours
 * (https://docs.stripe.com/billing/subscriptions/overview#payment-window), a manual one waits for the operator.
 */
export function planNextAttempt(world: World, invoice: Invoice): void {
  const retried =
    invoice.billing_reason === 'subscription_cycle' || invoice.billing_reason === 'subscription_update';
  const { retryDays } = world.state.billing;
  const day = retryDays[invoice.attempt_count - 1];
  if (!retried || day === undefined || isHeldChange(world, invoice)) {
    invoice.next_payment_attempt = null;
    invoice.auto_advance = false;
    return;
  }
  const previous = retryDays[invoice.attempt_count - 2] ?? 0;
  invoice.next_payment_attempt = world.now() + (day - previous) * DAY;
  invoice.auto_advance = true;
  world.scheduler.plan('invoice_retries', invoice.next_payment_attempt, invoice.id);
}

/** The invoice of an upgrade that only happens once it is paid; it expires instead of being retried. */
function isHeldChange(world: World, invoice: Invoice): boolean {
  return [...world.state.heldChanges.values()].some((held) => held.invoice === invoice.id);
}
