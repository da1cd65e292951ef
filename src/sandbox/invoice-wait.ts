import { DAY, HOUR } from './calendar.ts';
import type { Invoice, SandboxEvent } from './wire.ts';
import type { World } from './world.ts';

/** Stripe gives endpoints an hour from their 2xx to change a draft, and no more than 72 hours in all (stripe.md B4). */
const AFTER_ANSWER = HOUR;
const WITHOUT_ANSWER = 3 * DAY;

/** To be called once `invoice.created` has been emitted for a draft that advances by itself. */
export function planFinalization(world: World, invoice: Invoice, event: SandboxEvent): void {
  if (world.deliveredOk(event.id)) answered(world, invoice);
  else world.scheduler.plan('invoice_finalizes', invoice.created + WITHOUT_ANSWER, invoice.id);
}

function answered(world: World, invoice: Invoice): void {
  const now = world.now();
  invoice.webhooks_delivered_at = now;
  if (invoice.status !== 'draft' || invoice.auto_advance !== true) return;
  invoice.automatically_finalizes_at = now + AFTER_ANSWER;
  invoice.next_payment_attempt = now + AFTER_ANSWER;
  world.scheduler.plan('invoice_finalizes', now + AFTER_ANSWER, invoice.id);
}

/** No attempt at delivering this event is outstanding any more. */
export function onAnswered(world: World, event: SandboxEvent): void {
  if (event.type !== 'invoice.created' || !('id' in event.data.object)) return;
  const invoice = world.state.invoices.get(String(event.data.object.id));
  if (invoice === undefined || invoice.webhooks_delivered_at !== null) return;
  world.within(invoice.test_clock as string | null, () => answered(world, invoice));
}

/** Whether a draft has waited long enough: the job of a longer wait may come after a shorter one was planned. */
export function isFinalizationDue(world: World, invoice: Invoice): boolean {
  const { webhooks_delivered_at: at, created } = invoice;
  return world.now() >= (at === null ? created + WITHOUT_ANSWER : at + AFTER_ANSWER);
}
