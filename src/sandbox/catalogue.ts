import { z } from 'zod';
import { createPrice } from './resources/prices.ts';
import { createProduct } from './resources/products.ts';
import { createEndpoint } from './resources/webhook-endpoints.ts';
import type { World } from './world.ts';

export const seedSchema = z.object({
  prices: z.array(
    z.strictObject({
      lookupKey: z.string().min(1),
      productName: z.string().min(1),
      unitAmount: z.number().int().min(0),
      currency: z.string().length(3),
      interval: z.enum(['month', 'year']).optional(),
    }),
  ),
  webhookEndpoints: z.array(z.strictObject({ url: z.url(), secret: z.string().min(1) })),
});
export type Seed = z.output<typeof seedSchema>;

/** The account as it was before anybody used it; silent, because nobody can have been listening. */
export function seedAccount(world: World, seed: Seed): void {
  const products = new Map<string, string>();
  for (const { lookupKey, productName, unitAmount, currency, interval } of seed.prices) {
    const product = products.get(productName) ?? createProduct(world, productName).id;
    products.set(productName, product);
    const price = createPrice(world, product, {
      currency: currency.toLowerCase(),
      unit_amount: unitAmount,
      ...(interval === undefined ? {} : { recurring: { interval } }),
    });
    price.lookup_key = lookupKey;
  }
  for (const { url, secret } of seed.webhookEndpoints)
    createEndpoint(world, { url, secret, enabledEvents: ['*'] });
}
