/** The SDK as we use it, and the facts about the account that our key tells. */
import Stripe from 'stripe';
import type { Config } from '../config.ts';

/**
 * Ten seconds and two retries (three attempts): a worker that waits the SDK's default of 80 s holds up a whole queue.
 * `apiBase` leads to the sandbox. The simulation takes none, so that the sandbox's faults reach our own repetitions.
 */
export function openStripe(
  { stripe }: Pick<Config, 'stripe'>,
  { maxNetworkRetries = 2 }: { maxNetworkRetries?: number } = {},
): Stripe {
  const { apiBase } = stripe;
  const base = apiBase === undefined ? undefined : new URL(apiBase);
  const protocol = base?.protocol === 'http:' ? 'http' : 'https';
  return new Stripe(stripe.secretKey, {
    timeout: 10_000,
    maxNetworkRetries,
    telemetry: false,
    appInfo: { name: 'tollgate' },
    ...(base ? { host: base.hostname, port: base.port || (protocol === 'http' ? 80 : 443), protocol } : {}),
  });
}

/** Whether our key moves real money; events of the other mode are none of ours. */
export function isLiveKey({ stripe }: Pick<Config, 'stripe'>): boolean {
  return /^(?:sk|rk)_live_/.test(stripe.secretKey);
}

/** An object that Stripe does not have (any more): 404, or 400 where the id was a parameter. */
export function isMissing(error: unknown): boolean {
  return error instanceof Stripe.errors.StripeInvalidRequestError && error.code === 'resource_missing';
}
