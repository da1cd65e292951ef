import { DAY } from '../calendar.ts';
import type { CheckoutLineItem, CheckoutSession } from '../wire.ts';
import type { World } from '../world.ts';
import type { Choice } from './cards.ts';
import { type Html, html, NOTHING } from './html.ts';
import { day, hidden, interval, money } from './parts.ts';

const itemsOf = (world: World, session: CheckoutSession): CheckoutLineItem[] =>
  world.state.sessionLineItems.get(session.id) ?? [];

const trialDays = (world: World, session: CheckoutSession): number | null =>
  world.state.sessionOrders.get(session.id)?.subscription.trialDays ?? null;

/** The card is only saved now. */
export const startsFree = (world: World, session: CheckoutSession): boolean =>
  session.mode === 'setup' || (session.mode === 'subscription' && trialDays(world, session) !== null);

export function buttonText(world: World, session: CheckoutSession): string {
  if (session.mode === 'setup') return 'Save';
  if (session.mode === 'subscription') return startsFree(world, session) ? 'Start trial' : 'Subscribe';
  return `Pay ${money(session.amount_total ?? 0, session.currency ?? 'usd')}`;
}

/** Methods whose money comes days later; a session may restrict what is offered. */
export function delayedChoices(session: CheckoutSession): Choice[] {
  const types: readonly string[] | null = session.allowed_payment_method_types;
  const offered =
    types === null || types.some((type) => type.endsWith('_debit') || type === 'us_bank_account');
  if (session.mode !== 'payment' || !offered || session.amount_total === 0) return [];
  return [
    { value: 'debit_succeeds', name: 'Bank debit', says: 'Money arrives in 3 days' },
    { value: 'debit_fails', name: 'Bank debit', says: 'Fails after 3 days' },
  ];
}

function headline(world: World, session: CheckoutSession, items: readonly CheckoutLineItem[]): Html {
  const currency = session.currency ?? 'usd';
  const recurring = items.find((item) => item.price?.recurring != null);
  const name = (recurring ?? items[0])?.description ?? '';
  const total = money(session.amount_total ?? 0, currency);
  if (recurring === undefined) return html`<h1>Pay</h1><p class="price">${total}</p>`;
  const each = items
    .filter((item) => item.price?.recurring != null)
    .reduce((sum, item) => sum + item.amount_subtotal, 0);
  const renews = `${money(each, currency)} ${interval(recurring.price)}`;
  const days = trialDays(world, session);
  if (days === null) return html`<h1>Subscribe to ${name}</h1><p class="price">${renews}</p>`;
  const whole = Math.round(days);
  return html`<h1>Try ${name}</h1><p class="price">${whole} ${whole === 1 ? 'day' : 'days'} free</p>
<p class="soft">Then ${renews}, starting ${day(world.now() + days * DAY)}.</p>`;
}

function lineRow(item: CheckoutLineItem): Html {
  const quantity = item.quantity ?? 1;
  const unit = money(item.price?.unit_amount ?? 0, item.currency);
  return html`<tr><td>${item.description ?? ''}<br><span class="soft">${quantity} × ${unit} ${interval(item.price)}</span></td>
<td>${money(item.amount_subtotal, item.currency)}</td></tr>`;
}

function discountRow(world: World, session: CheckoutSession): Html {
  const off = session.total_details?.amount_discount ?? 0;
  const discount = session.discounts?.[0];
  if (discount === undefined) return NOTHING;
  const code =
    typeof discount.promotion_code === 'string'
      ? world.state.promotionCodes.get(discount.promotion_code)
      : undefined;
  const removable =
    code === undefined
      ? NOTHING
      : html`<form method="post" action="/c/pay/${session.id}" class="actions">${hidden({ action: 'remove_promotion' })}<button>Remove ${code.code}</button></form>`;
  return html`<tr><td>Discount${code === undefined ? '' : ` ${code.code}`}${removable}</td><td>−${money(off, session.currency ?? 'usd')}</td></tr>`;
}

function promotionForm(session: CheckoutSession): Html {
  if (session.allow_promotion_codes !== true || (session.discounts?.length ?? 0) > 0) return NOTHING;
  return html`<form method="post" action="/c/pay/${session.id}" class="row">${hidden({ action: 'promotion' })}
<label class="field"><span>Promotion code</span><input type="text" name="promotion_code" autocomplete="off" required></label>
<button>Apply</button></form>`;
}

/** What is bought, for how much, how often, and what is due today. */
export function summary(world: World, session: CheckoutSession): Html {
  if (session.mode === 'setup')
    return html`<h1>Save a payment method</h1><p class="soft">Nothing is charged now.</p>`;
  const items = itemsOf(world, session);
  return html`${headline(world, session, items)}
<table>${items.map(lineRow)}${discountRow(world, session)}
<tr class="total"><td>Total due today</td><td>${money(session.amount_total ?? 0, session.currency ?? 'usd')}</td></tr></table>
${promotionForm(session)}`;
}
