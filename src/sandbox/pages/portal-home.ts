import type { Invoice, PaymentMethod, Subscription } from '../wire.ts';
import { type Html, html, NOTHING } from './html.ts';
import { statusBadge } from './invoice-view.ts';
import { day, hidden, methodText, money, note, priceText } from './parts.ts';
import { linkTo, liveSubscriptions, mainItem, type Request, type Visit } from './portal-session.ts';

const DONE: Record<NonNullable<Request['done']>, string> = {
  canceled: 'Your cancellation has been saved.',
  kept: 'Your subscription goes on.',
  updated: 'Your plan has been changed.',
  scheduled: 'Your plan changes at the end of the present period.',
  payment_method: 'Your payment method has been changed.',
  details: 'Your details have been saved.',
};

const GOOD = ['active', 'trialing'];

export const planName = ({ world }: Visit, subscription: Subscription): string =>
  world.state.products.get(mainItem(subscription).price.product as string)?.name ?? 'Subscription';

function term(subscription: Subscription): string {
  const item = mainItem(subscription);
  if (subscription.cancel_at !== null) return `Cancels on ${day(subscription.cancel_at)}`;
  if (subscription.status === 'trialing')
    return `Trial until ${day(subscription.trial_end ?? item.current_period_end)}, then it renews`;
  if (subscription.status === 'paused') return 'Paused';
  return `Renews on ${day(item.current_period_end)}`;
}

function cancelButton(visit: Visit, { id, cancel_at: at }: Subscription): Html {
  if (!visit.configuration.features.subscription_cancel.enabled) return NOTHING;
  if (at === null)
    return html`<a class="button" href="${linkTo(visit, { view: 'cancel', subscription: id })}">Cancel subscription</a>`;
  return html`<form method="post" action="${visit.path}">${hidden({ action: 'undo', subscription: id })}
<button>Don't cancel subscription</button></form>`;
}

function subscriptionCard(visit: Visit, subscription: Subscription): Html {
  const { world, configuration } = visit;
  const item = mainItem(subscription);
  const method = world.state.paymentMethods.get(subscription.default_payment_method ?? '');
  const quantity = item.quantity ?? 1;
  const change = configuration.features.subscription_update.enabled && subscription.cancel_at === null;
  return html`<section class="card"><h2>${planName(visit, subscription)}
<span class="badge${GOOD.includes(subscription.status) ? ' good' : ' bad'}">${subscription.status.replaceAll('_', ' ')}</span></h2>
<p class="price">${priceText(item.price, quantity)}</p>${quantity === 1 ? NOTHING : html`<p class="soft">Quantity ${quantity}</p>`}
<p>${term(subscription)}</p>
${method === undefined ? NOTHING : html`<p class="soft">Paid with ${methodText(method)}</p>`}
<div class="actions">${change ? html`<a class="button" href="${linkTo(visit, { view: 'update', subscription: subscription.id })}">Change plan</a>` : NOTHING}${cancelButton(visit, subscription)}</div></section>`;
}

function methodsOf({ world, session }: Visit): PaymentMethod[] {
  return [...world.state.paymentMethods.values()].filter((one) => one.customer === session.customer);
}

function paymentCard(visit: Visit): Html {
  if (!visit.configuration.features.payment_method_update.enabled) return NOTHING;
  const customer = visit.world.state.customers.get(visit.session.customer);
  const chosen = customer?.invoice_settings.default_payment_method;
  const rows = methodsOf(visit).map(
    (one) =>
      html`<tr><td>${methodText(one)}</td><td>${one.id === chosen ? html`<span class="badge good">default</span>` : NOTHING}</td></tr>`,
  );
  return html`<section class="card"><h2>Payment methods</h2>
${rows.length === 0 ? html`<p class="soft">No payment method is saved.</p>` : html`<table>${rows}</table>`}
<div class="actions"><a class="button" href="${linkTo(visit, { view: 'payment_method' })}">Change payment method</a></div></section>`;
}

function detailsCard(visit: Visit): Html {
  if (!visit.configuration.features.customer_update.enabled) return NOTHING;
  const customer = visit.world.state.customers.get(visit.session.customer);
  return html`<section class="card"><h2>Billing details</h2>
<p>${customer?.name ?? ''}<br>${customer?.email ?? ''}</p>
<div class="actions"><a class="button" href="${linkTo(visit, { view: 'details' })}">Change details</a></div></section>`;
}

function invoicesOf({ world, session }: Visit): Invoice[] {
  return [...world.state.invoices.values()]
    .filter((one) => one.customer === session.customer && one.status !== 'draft' && one.status !== null)
    .reverse();
}

function invoiceRow(invoice: Invoice): Html {
  const url = invoice.hosted_invoice_url ?? `/invoices/${invoice.id}`;
  return html`<tr><td><a href="${new URL(url, 'http://sandbox.invalid').pathname}">${day(invoice.created)}</a></td>
<td>${invoice.number ?? ''}</td><td>${statusBadge(invoice)}</td><td>${money(invoice.total, invoice.currency)}</td></tr>`;
}

function invoiceCard(visit: Visit): Html {
  const invoices = invoicesOf(visit);
  if (!visit.configuration.features.invoice_history.enabled || invoices.length === 0) return NOTHING;
  return html`<section class="card"><h2>Invoice history</h2><table>
<thead><tr><th scope="col">Date</th><th scope="col">Number</th><th scope="col">Status</th><th scope="col">Amount</th></tr></thead>
<tbody>${invoices.map(invoiceRow)}</tbody></table></section>`;
}

/** Money that is owed comes first, whatever the configuration shows. */
function owed(visit: Visit): Html[] {
  return invoicesOf(visit)
    .filter((one) => one.status === 'open' && one.attempted)
    .map(
      (one) =>
        html`<p class="note bad" role="alert">Your last payment of ${money(one.amount_remaining, one.currency)} failed. <a href="/invoices/${one.id}">Pay invoice ${one.number ?? ''}</a></p>`,
    );
}

export function homeView(visit: Visit): Html {
  const subscriptions = liveSubscriptions(visit);
  const { headline } = visit.configuration.business_profile;
  const { done } = visit.asked;
  return html`<h1>${headline ?? 'Your subscription'}</h1><p class="soft">Manage your plan, payment method and invoices.</p><br>
${note(done === undefined ? undefined : DONE[done])}${owed(visit)}
${subscriptions.length === 0 ? html`<section class="card"><p>You have no subscription.</p></section>` : subscriptions.map((one) => subscriptionCard(visit, one))}
${paymentCard(visit)}${detailsCard(visit)}${invoiceCard(visit)}`;
}
