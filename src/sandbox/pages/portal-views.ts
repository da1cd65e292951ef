import { periodEnd } from '../engine/subscription-times.ts';
import type { Invoice, Price, Subscription } from '../wire.ts';
import { cardChoices } from './cards.ts';
import { type Html, html, NOTHING } from './html.ts';
import { day, hidden, money, priceText } from './parts.ts';
import { isDeferred, preview, wanted } from './portal-change.ts';
import { planName } from './portal-home.ts';
import { askedSubscription, mainItem, offeredPrices, type Visit } from './portal-session.ts';

const FEEDBACK: Record<string, string> = {
  too_expensive: "It's too expensive",
  missing_features: 'I need more features',
  switched_service: 'I found an alternative',
  unused: 'I no longer need it',
  customer_service: 'Customer service was less than expected',
  too_complex: 'Ease of use was less than expected',
  low_quality: 'Quality was less than expected',
  other: 'Other reason',
};

function planChoice(visit: Visit, price: Price, current: Price): Html {
  const name = visit.world.state.products.get(price.product as string)?.name ?? '';
  return html`<label class="choice"><input type="radio" name="price" value="${price.id}" required${
    price.id === current.id ? html` checked` : NOTHING
  }> <b>${name} · ${priceText(price)}</b> <small>${price.id === current.id ? 'Current plan' : (price.nickname ?? '')}</small></label>`;
}

function quantityField({ configuration }: Visit, quantity: number): Html {
  if (!configuration.features.subscription_update.default_allowed_updates.includes('quantity'))
    return NOTHING;
  return html`<label class="field"><span>Quantity</span><input type="number" name="quantity" min="1" max="999999" value="${quantity}"></label>`;
}

export function updateView(visit: Visit): Html {
  const subscription = askedSubscription(visit);
  const item = mainItem(subscription);
  return html`<section class="card"><h1>Change plan</h1>
<form method="get" action="${visit.path}">${hidden({ view: 'confirm', subscription: subscription.id })}
<fieldset><legend>Plans</legend>${offeredPrices(visit, subscription).map((price) => planChoice(visit, price, item.price))}</fieldset>
${quantityField(visit, item.quantity ?? 1)}<button class="main">Continue</button></form></section>`;
}

function previewTable(invoice: Invoice, label: string): Html {
  const { currency } = invoice;
  const row = (text: string, amount: number): Html =>
    html`<tr><td>${text}</td><td>${money(amount, currency)}</td></tr>`;
  const off = (invoice.total_discount_amounts ?? []).reduce((sum, one) => sum + one.amount, 0);
  return html`<table>${invoice.lines.data.map((line) => row(line.description ?? '', line.amount))}
${off === 0 ? NOTHING : row('Discount', -off)}
<tr class="total"><td>${label}</td><td>${money(invoice.amount_due, currency)}</td></tr></table>`;
}

function consequence(visit: Visit, subscription: Subscription): Html {
  const end = periodEnd(subscription);
  if (isDeferred(visit, subscription))
    return html`<p>Nothing is due today. Your plan changes on <strong>${day(end)}</strong>; until then everything stays as it is.</p>`;
  const invoice = preview(visit, subscription);
  const now = invoice.billing_reason === 'subscription_update';
  const credit =
    invoice.total < 0
      ? html`<p class="soft">${money(-invoice.total, invoice.currency)} stay on your account for later invoices.</p>`
      : NOTHING;
  return html`${previewTable(invoice, now ? 'Amount due today' : 'Next invoice')}${credit}`;
}

export function confirmView(visit: Visit): Html {
  const subscription = askedSubscription(visit);
  const { price, quantity } = wanted(visit, subscription);
  const item = mainItem(subscription);
  const name = visit.world.state.products.get(price.product as string)?.name ?? '';
  return html`<section class="card"><h1>Confirm your updates</h1>
<p class="soft">From ${planName(visit, subscription)}, ${priceText(item.price, item.quantity ?? 1)}</p>
<p class="price">${name}, ${priceText(price, quantity)}</p>${consequence(visit, subscription)}
<form method="post" action="${visit.path}">${hidden({ action: 'update', subscription: subscription.id, price: price.id, quantity: String(quantity) })}
<button class="main">Confirm</button></form></section>`;
}

function reasons({ configuration }: Visit): Html {
  const { enabled, options } = configuration.features.subscription_cancel.cancellation_reason;
  if (!enabled) return NOTHING;
  const choices = options.map((one) => html`<option value="${one}">${FEEDBACK[one] ?? one}</option>`);
  return html`<label class="field"><span>Why do you cancel?</span><select name="feedback"><option value="">I'd rather not say</option>${choices}</select></label>
<label class="field"><span>Anything else?</span><textarea name="comment" rows="3" maxlength="5000"></textarea></label>`;
}

export function cancelView(visit: Visit): Html {
  const subscription = askedSubscription(visit);
  const now = visit.configuration.features.subscription_cancel.mode === 'immediately';
  const when = now
    ? 'Your subscription ends at once.'
    : `You keep your plan until ${day(periodEnd(subscription))}; then it ends.`;
  return html`<section class="card"><h1>Cancel ${planName(visit, subscription)}</h1><p>${when}</p>
<form method="post" action="${visit.path}">${hidden({ action: 'cancel', subscription: subscription.id })}${reasons(visit)}
<button class="danger">Cancel subscription</button></form></section>`;
}

export function paymentMethodView(visit: Visit): Html {
  return html`<section class="card"><h1>Change payment method</h1>
<form method="post" action="${visit.path}">${hidden({ action: 'payment_method' })}${cardChoices(visit.asked.card)}
<button class="main">Save</button></form></section>`;
}

export function detailsView(visit: Visit): Html {
  const customer = visit.world.state.customers.get(visit.session.customer);
  const allowed = visit.configuration.features.customer_update.allowed_updates;
  const field = (key: 'name' | 'email' | 'phone', label: string): Html =>
    allowed.includes(key)
      ? html`<label class="field"><span>${label}</span><input type="${key === 'email' ? 'email' : 'text'}" name="${key}" value="${customer?.[key] ?? ''}"></label>`
      : NOTHING;
  return html`<section class="card"><h1>Billing details</h1>
<form method="post" action="${visit.path}">${hidden({ action: 'details' })}${field('name', 'Name')}${field('email', 'Email')}${field('phone', 'Phone')}
<button class="main">Save</button></form></section>`;
}
