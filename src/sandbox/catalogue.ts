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

/**
 * The account as it was before anybody used it, or what a kept one lacks of it; silent, because nobody can
 * have been listening.
 */
export function seedAccount(world: World, seed: Seed): void {
  for (const price of seed.prices) seedPrice(world, price);
  seedEndpoints(world, seed.webhookEndpoints);
}

function seedPrice(world: World, wanted: Seed['prices'][number]): void {
  const { lookupKey, productName, unitAmount, currency, interval } = wanted;
  const { prices, products } = world.state;
  if ([...prices.values()].some((price) => price.active && price.lookup_key === lookupKey)) return;
  const known = [...products.values()].find((product) => product.name === productName);
  const price = createPrice(world, (known ?? createProduct(world, productName)).id, {
    currency: currency.toLowerCase(),
    unit_amount: unitAmount,
    ...(interval === undefined ? {} : { recurring: { interval } }),
  });
  price.lookup_key = lookupKey;
}

/** The host's endpoints keep their ids, and with them what is owed to them, when ports or secrets change. */
function seedEndpoints(world: World, wanted: Seed['webhookEndpoints']): void {
  const { webhookEndpoints, webhookSecrets, seededEndpoints } = world.state;
  world.state.seededEndpoints = wanted.map(({ url, secret }, index) => {
    const kept = webhookEndpoints.get(seededEndpoints[index] ?? '');
    if (kept === undefined) return createEndpoint(world, { url, secret, enabledEvents: ['*'] }).id;
    kept.url = url;
    webhookSecrets.set(kept.id, secret);
    return kept.id;
  });
  for (const id of seededEndpoints.slice(wanted.length)) webhookEndpoints.delete(id);
}
