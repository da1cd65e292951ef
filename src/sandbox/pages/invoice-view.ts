import type { Invoice, InvoiceLine, PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';
import { cardChoices } from './cards.ts';
import { type Html, html, NOTHING } from './html.ts';
import { day, methodText, money, note } from './parts.ts';

/** The payment with which an invoice is to be paid. */
export function intentOf(world: World, invoice: Invoice): PaymentIntent | undefined {
  for (const payment of world.state.invoicePayments.values())
    if (payment.invoice === invoice.id && payment.is_default)
      return world.state.paymentIntents.get(payment.payment.payment_intent ?? '');
  return undefined;
}

const TONES: Record<string, string> = { paid: ' good', open: ' bad', uncollectible: ' bad' };

export function statusBadge(invoice: Invoice): Html {
  const status = invoice.status ?? 'draft';
  return html`<span class="badge${TONES[status] ?? ''}">${status}</span>`;
}

function lineRow(line: InvoiceLine): Html {
  return html`<tr><td>${line.description ?? ''}<br><span class="soft">${day(line.period.start)} – ${day(line.period.end)}</span></td>
<td>${money(line.amount, line.currency)}</td></tr>`;
}

const row = (label: string, amount: number, currency: string): Html =>
  amount === 0 ? NOTHING : html`<tr><td>${label}</td><td>${money(amount, currency)}</td></tr>`;

export function invoiceTable(world: World, invoice: Invoice): Html {
  const { currency } = invoice;
  const lines = world.state.invoiceLines.get(invoice.id) ?? invoice.lines.data;
  const off = (invoice.total_discount_amounts ?? []).reduce((sum, one) => sum + one.amount, 0);
  return html`<table>${lines.map(lineRow)}${row('Discount', -off, currency)}
${row('From your balance', invoice.amount_due - invoice.total, currency)}
<tr class="total"><td>Amount due</td><td>${money(invoice.amount_due, currency)}</td></tr>
${row('Paid', invoice.amount_paid, currency)}</table>`;
}

function payForm(world: World, invoice: Invoice): Html {
  const customer = world.state.customers.get(invoice.customer ?? '');
  const saved = world.state.paymentMethods.get(customer?.invoice_settings.default_payment_method ?? '');
  const more =
    saved === undefined ? [] : [{ value: 'saved', name: methodText(saved), says: 'Your saved card' }];
  return html`<section class="card"><h2>Pay with a test card</h2>
<form method="post" action="/invoices/${invoice.id}">${cardChoices('visa', more)}
<button class="main">Pay ${money(invoice.amount_remaining, invoice.currency)}</button></form></section>`;
}

export function invoiceView(world: World, invoice: Invoice, payable: boolean, refusal?: string): Html {
  const intent = intentOf(world, invoice);
  const failed = payable ? intent?.last_payment_error?.message : undefined;
  const asks = payable && intent?.status === 'requires_action';
  const title = html`<h1>Invoice ${invoice.number ?? ''}</h1>
<p class="soft">${invoice.customer_name ?? invoice.customer_email ?? ''} · ${day(invoice.created)} · Status: ${invoice.status ?? ''}</p>`;
  const reason = refusal ?? (failed === undefined ? undefined : `The last attempt failed: ${failed}`);
  return html`<div class="narrow">${note(invoice.status === 'paid' ? 'This invoice is paid. Thank you.' : undefined)}${note(reason, true)}
${asks ? html`<p class="note bad" role="alert">Your bank asks you to authenticate this payment. <a href="/3d_secure_2/${intent.id}">Authenticate</a></p>` : NOTHING}
<section class="card">${title}<p class="price">${money(invoice.amount_due, invoice.currency)}</p>${invoiceTable(world, invoice)}</section>
${payable ? payForm(world, invoice) : NOTHING}</div>`;
}
