/** Stripe's customer portal with a configuration of our own (https://docs.stripe.com/customer-management). */
import { createHash } from 'node:crypto';
import type Stripe from 'stripe';
import type { Context } from '../context.ts';
import type { Answer, ChangeRequest } from '../lib/requests.ts';
import { userNow } from '../lib/users.ts';
import { ensureCustomer } from './customers.ts';
import { pricesOnSale } from './offers.ts';
import { onceOutside } from './outside.ts';

const MARK = 'tollgate_portal';
/** What Stripe takes (https://docs.stripe.com/api/customer_portal/configurations/create). */
const MAX_PRODUCTS = 10;

type Features = Stripe.BillingPortal.ConfigurationCreateParams.Features;

export interface PortalInput {
  userId: string;
  returnUrl?: string | undefined;
}

/** @returns 201 `{url}` */
export async function createPortalSession(
  context: Context,
  { userId, returnUrl }: PortalInput,
  request: ChangeRequest,
): Promise<Answer> {
  await userNow(context, userId);
  return onceOutside(context, userId, request, async () => {
    const customer = await ensureCustomer(context, userId);
    const session = await context.stripe.billingPortal.sessions.create({
      customer,
      configuration: await configurationId(context),
      return_url: returnUrl ?? `${context.config.publicUrl}/docs/`,
    });
    return { status: 201, body: { url: session.url } };
  });
}

/**
 * One configuration of ours in the account, found by its mark and brought up to date in place when the catalogue's
 * prices or what we offer have changed: the mark is the fingerprint of both.
 */
async function configurationId(context: Context): Promise<string> {
  const { configurations } = context.stripe.billingPortal;
  const features = await featuresOf(context);
  const mark = createHash('sha256').update(JSON.stringify(features)).digest('hex').slice(0, 40);
  const metadata = { [MARK]: mark };
  for await (const one of configurations.list({ active: true, limit: 100 })) {
    const found = one.metadata?.[MARK];
    if (found === mark) return one.id;
    if (found !== undefined) return (await configurations.update(one.id, { features, metadata })).id;
  }
  const made = await configurations.create(
    { features, metadata },
    { idempotencyKey: `tollgate:portal:${mark}` },
  );
  return made.id;
}

/**
 * A change is invoiced at once and takes effect when it is paid, as through our API; the Dashboard's default would let
 * a person upgrade without paying until the next renewal. What gives less waits for the period's end.
 */
async function featuresOf(context: Context): Promise<Features> {
  const products = await productsOf(context);
  return {
    customer_update: { enabled: true, allowed_updates: ['email', 'address', 'tax_id'] },
    invoice_history: { enabled: true },
    payment_method_update: { enabled: true },
    subscription_cancel: { enabled: true, mode: 'at_period_end', proration_behavior: 'none' },
    subscription_update:
      products.length === 0
        ? { enabled: false }
        : {
            enabled: true,
            default_allowed_updates: ['price', 'promotion_code'],
            products,
            proration_behavior: 'always_invoice',
            schedule_at_period_end: {
              conditions: [{ type: 'decreasing_item_amount' }, { type: 'shortening_interval' }],
            },
          },
  };
}

/** The plans of the catalogue that are on sale, by product, in an order that stays. */
async function productsOf(context: Context): Promise<{ product: string; prices: string[] }[]> {
  const lookupKeys = Object.values(context.catalogue.plans).flatMap(({ prices }) => Object.values(prices));
  const byProduct = new Map<string, string[]>();
  for (const { id, product } of await pricesOnSale(context, lookupKeys)) {
    const productId = typeof product === 'string' ? product : product.id;
    byProduct.set(productId, [...(byProduct.get(productId) ?? []), id].sort());
  }
  const products = [...byProduct].map(([product, prices]) => ({ product, prices }));
  products.sort((a, b) => (a.product < b.product ? -1 : 1));
  if (products.length > MAX_PRODUCTS) {
    const text =
      'The catalogue has more plans on sale than a portal can offer; the rest is changed through the API';
    context.log.warn({ products: products.length, offered: MAX_PRODUCTS }, text);
  }
  return products.slice(0, MAX_PRODUCTS);
}
