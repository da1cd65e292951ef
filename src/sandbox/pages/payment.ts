import { attemptInvoice, invoiceOf } from '../engine/invoicing.ts';
import { money } from '../engine/lines.ts';
import { confirmIntent } from '../engine/payments.ts';
import { StripeError } from '../errors.ts';
import { cardByName, createPaymentMethod } from '../resources/payment-methods.ts';
import type { Invoice, PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';
import type { PageAnswer } from './checkout.ts';
import { document, html } from './html.ts';

const OUTCOMES = ['succeeds', 'card_declined'] as const;

function outcomeIn(form: Record<string, unknown>): (typeof OUTCOMES)[number] {
  const outcome = OUTCOMES.find((one) => one === form.outcome);
  if (outcome !== undefined) return outcome;
  throw new StripeError(400, 'invalid_request_error', 'Unknown outcome', { param: 'outcome' });
}

function choices(path: string, pay: string) {
  return html`<form method="post" action="${path}"><input type="hidden" name="outcome" value="succeeds">
<button class="main">${pay}</button></form>
<form method="post" action="${path}"><input type="hidden" name="outcome" value="card_declined">
<button>Decline</button></form>`;
}

/** The hosted invoice page: where a customer settles a failed renewal or authenticates it. */
export function invoicePage(
  world: World,
  invoice: Invoice,
  form: Record<string, unknown> | null,
): PageAnswer {
  const path = `/invoices/${invoice.id}`;
  const payable = (): boolean => invoice.status === 'open' || invoice.status === 'uncollectible';
  if (form !== null && payable()) {
    const known = invoice.customer === null ? null : world.state.customers.get(invoice.customer);
    const saved = known?.invoice_settings.default_payment_method ?? null;
    const method = saved ?? createPaymentMethod(world, cardByName('visa')).id;
    attemptInvoice(world, invoice, { method, onSession: true, outcome: outcomeIn(form) });
  }
  const amount = money(invoice.amount_due, invoice.currency);
  const body = html`<h1>Invoice ${invoice.number ?? ''}: ${amount}</h1><p>Status: ${invoice.status ?? ''}</p>
${payable() ? choices(path, `Pay ${amount}`) : html``}`;
  return { status: 200, html: document('Invoice', body) };
}

/** What the card's bank asks a person (https://docs.stripe.com/payments/3d-secure). */
export function authenticationPage(
  world: World,
  intent: PaymentIntent,
  form: Record<string, unknown> | null,
): PageAnswer {
  const returnUrl = intent.next_action?.redirect_to_url?.return_url ?? null;
  if (form !== null && intent.status === 'requires_action') {
    const outcome = outcomeIn(form);
    const invoice = invoiceOf(world, intent);
    const request = { method: intent.payment_method, onSession: true, outcome };
    if (invoice === undefined) confirmIntent(world, intent, request);
    else attemptInvoice(world, invoice, request);
    if (returnUrl !== null) return { redirect: returnUrl };
  }
  const open = intent.status === 'requires_action';
  const body = html`<h1>Authenticate ${money(intent.amount, intent.currency)}</h1><p>Status: ${intent.status}</p>
${open ? choices(`/3d_secure_2/${intent.id}`, 'Complete authentication') : html``}`;
  return { status: 200, html: document('3-D Secure', body) };
}
