/** Prices by id and by lookup key. Only the catalogue decides what a price is worth, so a small cache is enough. */
import Stripe from 'stripe';
import { ConfigError } from '../config.ts';
import type { Context } from '../context.ts';
import type { LinePrice } from '../domain/invoice-lines.ts';
import { markHandled } from '../store/inbox.ts';
import { isMissing } from './client.ts';
import { type PriceShape, parsePrice } from './shapes.ts';

const CACHE_SIZE = 500;
/** Per client, since an id means something in one account only. */
const caches = new WeakMap<Stripe, Map<string, LinePrice>>();

export function linePrice({ id, lookup_key, recurring }: PriceShape): LinePrice {
  return { id, lookupKey: lookup_key, interval: recurring?.interval ?? null };
}

/** @returns null for a price that Stripe does not have any more (an ad-hoc one) */
export async function fetchPrice(stripe: Stripe, priceId: string): Promise<LinePrice | null> {
  const cache = caches.get(stripe) ?? new Map<string, LinePrice>();
  caches.set(stripe, cache);
  const known = cache.get(priceId);
  if (known) return known;
  try {
    const price = linePrice(parsePrice(await stripe.prices.retrieve(priceId)));
    if (cache.size >= CACHE_SIZE) cache.clear();
    // Without a key it may be given one later: only what the catalogue can know is kept.
    if (price.lookupKey !== null) cache.set(priceId, price);
    return price;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** A start should not wait for a Stripe that is away. */
const QUICKLY = { timeout: 5_000, maxNetworkRetries: 0 };

/**
 * A catalogue that Stripe does not know would fail at the first customer's checkout. A Stripe that is away is no reason
 * not to start: credits are consumed without it.
 * @throws ConfigError naming each lookup key that has no price, or the key that Stripe refuses
 */
export async function requirePrices(context: Context): Promise<void> {
  try {
    const missing = await missingLookupKeys(context);
    const lines = missing.map(
      (key) =>
        `Stripe has no active price with the lookup key "${key}": add it there, or name another in PLANS_FILE`,
    );
    if (lines.length > 0) throw new ConfigError(lines.join('\n'));
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    if (error instanceof Stripe.errors.StripeAuthenticationError) {
      throw new ConfigError(`STRIPE_SECRET_KEY: Stripe refuses this key (${error.message})`);
    }
    context.log.warn({ err: error }, 'Stripe could not be asked for the prices of the catalogue');
  }
}

/** Lookup keys of the catalogue that Stripe has no active price for. */
async function missingLookupKeys({ stripe, catalogue }: Context): Promise<string[]> {
  const keys = [
    ...Object.values(catalogue.plans).flatMap(({ prices }) => Object.values(prices)),
    ...Object.values(catalogue.packs).map(({ price }) => price),
  ];
  const missing: string[] = [];
  // Stripe takes ten keys a call.
  for (let at = 0; at < keys.length; at += 10) {
    const chunk = keys.slice(at, at + 10);
    const { data } = await stripe.prices.list({ lookup_keys: chunk, active: true, limit: 100 }, QUICKLY);
    const found = new Set(data.map((price) => price.lookup_key));
    missing.push(...chunk.filter((key) => !found.has(key)));
  }
  return missing;
}

/**
 * A price or product that was edited changes nobody's plan; a lookup key of the catalogue that leads nowhere any more
 * would fail at the next checkout.
 */
export async function alertCatalogueDrift(
  context: Context,
  objectId: string,
  eventId?: string,
): Promise<boolean> {
  const missing = await missingLookupKeys(context);
  const outcome = missing.length === 0 ? 'the catalogue still holds' : `no price for ${missing.join(', ')}`;
  if (missing.length > 0) {
    const text = 'A lookup key of the catalogue has no active price in Stripe any more';
    context.log.error({ alert: 'catalogue_drift', objectId, missing }, text);
  }
  const end = { status: 'handled', outcome, userId: null, now: context.clock.now() } as const;
  if (eventId !== undefined) await markHandled(context.pool, eventId, end);
  return true;
}
