/** What the catalogue has on sale, and the Stripe prices behind it. */
import type Stripe from 'stripe';
import type { Context } from '../context.ts';
import type { Catalogue } from '../domain/plans.ts';
import { invalidField, TollgateError } from '../errors.ts';

/** Stripe takes ten lookup keys a call. */
const KEYS_PER_CALL = 10;

/**
 * @param interval without one, the monthly price if there is one
 * @throws TollgateError `invalid_request` naming `plan` or `interval`
 */
export function planLookupKey(
  catalogue: Catalogue,
  plan: string,
  interval: 'month' | 'year' | undefined,
): string {
  const definition = Object.hasOwn(catalogue.plans, plan) ? catalogue.plans[plan] : undefined;
  if (!definition) throw invalidField('plan', `unknown; one of ${Object.keys(catalogue.plans).join(', ')}`);
  const { monthly, annual } = definition.prices;
  if (monthly === undefined && annual === undefined)
    throw invalidField('plan', 'is not on sale: it has no price');
  const price = interval === 'year' ? annual : interval === 'month' ? monthly : (monthly ?? annual);
  if (price === undefined) throw invalidField('interval', `${plan} has no price for a ${interval}`);
  return price;
}

/** The active prices under lookup keys, with all their fields; a key that Stripe does not know is left out. */
export async function pricesOnSale(
  { stripe }: Context,
  lookupKeys: readonly string[],
): Promise<Stripe.Price[]> {
  const prices: Stripe.Price[] = [];
  for (let at = 0; at < lookupKeys.length; at += KEYS_PER_CALL) {
    const chunk = lookupKeys.slice(at, at + KEYS_PER_CALL);
    const { data } = await stripe.prices.list({ lookup_keys: chunk, active: true, limit: 100 });
    prices.push(...data);
  }
  return prices;
}

/**
 * The active price on sale under a lookup key (https://docs.stripe.com/products-prices/manage-prices#lookup-keys).
 * @throws TollgateError `unavailable` where Stripe has none: the catalogue and the account disagree
 */
export async function priceOnSale(context: Context, lookupKey: string): Promise<Stripe.Price> {
  const [price] = await pricesOnSale(context, [lookupKey]);
  if (price) return price;
  throw new TollgateError(
    'unavailable',
    `Stripe has no active price with the lookup key "${lookupKey}": give it to a price in the Dashboard.`,
  );
}
