import { z } from 'zod';
import { attemptInvoice, invoiceOf } from '../engine/invoicing.ts';
import { confirmIntent } from '../engine/payments.ts';
import { StripeError } from '../errors.ts';
import type { Charge, Invoice, PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';
import { AUTHENTICATION_FAILED, type CardOutcome, chosenCard, newMethod, savedMethod } from './cards.ts';
import { html, type PageAnswer, pageOf } from './html.ts';
import { invoiceView } from './invoice-view.ts';
import { challenge, money } from './parts.ts';

const submission = z.strictObject({
  card: z.string().max(100).optional(),
  outcome: z.enum(['succeeds', 'card_declined']).optional(),
});

function submitted(form: Record<string, unknown>): z.output<typeof submission> {
  const parsed = submission.safeParse(form);
  if (parsed.success) return parsed.data;
  throw new StripeError(400, 'invalid_request_error', 'Unknown outcome or field', { param: 'outcome' });
}

const payable = (invoice: Invoice): boolean =>
  invoice.status === 'open' || invoice.status === 'uncollectible';

function savedCard(world: World, invoice: Invoice): string | null {
  const customer = world.state.customers.get(invoice.customer ?? '');
  return customer?.invoice_settings.default_payment_method ?? null;
}

interface Attempt {
  method: string;
  outcome?: CardOutcome;
}

/** A card chosen here is kept for the customer, as Stripe's page does; the saved one pays as it behaves. */
function chosen(world: World, invoice: Invoice, form: z.output<typeof submission>): Attempt {
  const saved = savedCard(world, invoice);
  if (form.card === 'saved' && saved !== null) return { method: saved };
  if (form.card === undefined)
    return { method: saved ?? newMethod(world, 'visa').id, outcome: form.outcome ?? 'succeeds' };
  const { charge } = chosenCard(form.card);
  const known = world.state.customers.has(invoice.customer ?? '');
  const kept = known && (charge === 'succeeds' || charge === 'requires_action');
  const method = kept ? savedMethod(world, form.card, invoice.customer ?? '') : newMethod(world, form.card);
  return { method: method.id, outcome: charge };
}

/** The hosted invoice page: where a customer settles a failed renewal or authenticates it. */
export function invoicePage(
  world: World,
  invoice: Invoice,
  form: Record<string, unknown> | null,
): PageAnswer {
  if (form === null || !payable(invoice))
    return pageOf('Invoice', invoiceView(world, invoice, payable(invoice)));
  const attempt = chosen(world, invoice, submitted(form));
  const { outcome, intent } = attemptInvoice(world, invoice, { onSession: true, ...attempt });
  if (outcome === 'requires_action' && intent !== null) return { redirect: `/3d_secure_2/${intent.id}` };
  const refusal =
    outcome === 'succeeds' ? undefined : (intent?.last_payment_error?.message ?? 'The payment failed.');
  return pageOf('Invoice', invoiceView(world, invoice, payable(invoice), refusal));
}

function answered(
  world: World,
  intent: PaymentIntent,
  form: Record<string, unknown>,
): PageAnswer | undefined {
  const returnUrl = intent.next_action?.redirect_to_url?.return_url ?? null;
  const { outcome = 'succeeds' } = submitted(form);
  const invoice = invoiceOf(world, intent);
  const request = { method: intent.payment_method, onSession: true, outcome };
  if (invoice === undefined) confirmIntent(world, intent, request);
  else attemptInvoice(world, invoice, request);
  if (returnUrl !== null) return { redirect: returnUrl };
  if (invoice === undefined) return undefined;
  const refusal = outcome === 'succeeds' ? undefined : AUTHENTICATION_FAILED;
  return pageOf('Invoice', invoiceView(world, invoice, payable(invoice), refusal));
}

/** Where a person proves to the bank of a card who they are. */
export function authenticationPage(
  world: World,
  intent: PaymentIntent,
  form: Record<string, unknown> | null,
): PageAnswer {
  const amount = money(intent.amount, intent.currency);
  const answer =
    form !== null && intent.status === 'requires_action' ? answered(world, intent, form) : undefined;
  if (answer !== undefined) return answer;
  if (intent.status === 'requires_action')
    return pageOf('3-D Secure', challenge(`/3d_secure_2/${intent.id}`, `a payment of ${amount}`, {}));
  return pageOf(
    '3-D Secure',
    html`<div class="narrow"><div class="card"><h1>Payment of ${amount}</h1><p>Status: ${intent.status}</p></div></div>`,
  );
}

export function receiptPage(charge: Charge): PageAnswer {
  const card = charge.payment_method_details?.card;
  return pageOf(
    'Receipt',
    html`<div class="narrow"><div class="card"><h1>Receipt</h1><p class="price">${money(charge.amount, charge.currency)}</p>
<table><tr><td>Charge</td><td>${charge.id}</td></tr><tr><td>Paid with</td><td>${card?.brand ?? charge.payment_method_details?.type ?? ''} ${card?.last4 ?? ''}</td></tr>
<tr><td>Refunded</td><td>${money(charge.amount_refunded, charge.currency)}</td></tr></table></div></div>`,
  );
}
