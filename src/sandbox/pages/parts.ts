import { money } from '../engine/lines.ts';
import type { PaymentMethod, Price } from '../wire.ts';
import { type Html, html, NOTHING } from './html.ts';

export { money };

const DAY_FORMAT = new Intl.DateTimeFormat('en-US', { dateStyle: 'medium', timeZone: 'UTC' });

export const day = (seconds: number): string => DAY_FORMAT.format(seconds * 1000);

/** `per month`, `every 3 months`; nothing for a one-time price. */
export function interval(price: Price | null | undefined): string {
  const recurring = price?.recurring;
  if (recurring == null) return '';
  const { interval: unit, interval_count: count } = recurring;
  return count === 1 ? `per ${unit}` : `every ${count} ${unit}s`;
}

export function priceText(price: Price, quantity = 1): string {
  return `${money((price.unit_amount ?? 0) * quantity, price.currency)} ${interval(price)}`.trim();
}

export function methodText(method: PaymentMethod | undefined): string {
  if (method === undefined) return 'none';
  const last4 = method.card?.last4 ?? method.sepa_debit?.last4 ?? '';
  const brand = method.card?.brand ?? 'SEPA debit';
  return `${brand.charAt(0).toUpperCase()}${brand.slice(1)} •••• ${last4}`;
}

export const note = (text: string | undefined, bad = false): Html =>
  text === undefined
    ? NOTHING
    : html`<p class="note${bad ? ' bad' : ''}" role="${bad ? 'alert' : 'status'}">${text}</p>`;

export const hidden = (fields: Record<string, string | undefined>): Html[] =>
  Object.entries(fields).map(([name, value]) =>
    value === undefined ? NOTHING : html`<input type="hidden" name="${name}" value="${value}">`,
  );

/** A link of the caller's: only where a browser goes, never where it runs something. */
export function link(url: string | null, text: string, style: 'back' | 'button' = 'back'): Html {
  return url !== null && /^https?:\/\//i.test(url)
    ? html`<a class="${style}" href="${url}">${text}</a>`
    : NOTHING;
}

/** What the card's bank asks a person (https://docs.stripe.com/payments/3d-secure). */
export function challenge(path: string, what: string, fields: Record<string, string | undefined>): Html {
  return html`<div class="narrow"><div class="card"><h1>3-D Secure authentication</h1>
<p>Your bank wants to know that it is really you: ${what}.</p>
<form method="post" action="${path}">${hidden(fields)}
<button class="main" name="outcome" value="succeeds">Complete authentication</button>
<button name="outcome" value="card_declined">Fail authentication</button></form></div></div>`;
}
