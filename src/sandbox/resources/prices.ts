import { z } from 'zod';
import { invalid } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  cosmetic,
  flag,
  inRange,
  mergeMetadata,
  metadata,
  noParams,
  notModelled,
  pageParams,
  text,
  timeRange,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Price } from '../wire.ts';
import type { World } from '../world.ts';
import { createPrice, findPrice } from './price-object.ts';
import { priceDataParams, taxBehavior } from './price-params.ts';
import { createProduct, findProduct } from './products.ts';

/** The catalogue makes its prices through the resource. */
export { createPrice };

const shared = {
  active: flag.optional(),
  lookup_key: text.optional(),
  metadata: metadata.optional(),
  nickname: text.optional(),
  tax_behavior: taxBehavior.optional(),
};
const createParams = z.strictObject({
  ...shared,
  ...priceDataParams,
  billing_scheme: z.enum(['per_unit']).optional(),
  currency_options: notModelled,
  custom_unit_amount: notModelled,
  tiers: notModelled,
  tiers_mode: notModelled,
  transform_quantity: notModelled,
  product: text.optional(),
  product_data: z
    .strictObject({
      active: flag.optional(),
      id: text.optional(),
      metadata: metadata.optional(),
      name: text,
      statement_descriptor: cosmetic,
      tax_code: cosmetic,
      unit_label: text.optional(),
    })
    .optional(),
  transfer_lookup_key: flag.optional(),
});
const updateParams = z.strictObject({
  ...shared,
  currency_options: notModelled,
  transfer_lookup_key: flag.optional(),
});
const listParams = z.strictObject({
  ...pageParams,
  active: flag.optional(),
  created: timeRange.optional(),
  currency: text.optional(),
  lookup_keys: z.array(text).max(10).optional(),
  product: text.optional(),
  recurring: z.strictObject({ interval: text.optional(), usage_type: text.optional() }).optional(),
  type: z.enum(['one_time', 'recurring']).optional(),
});

/** A lookup key belongs to one active price; `transfer_lookup_key` takes it from its holder. */
function takeLookupKey(world: World, price: Price, key: string | undefined, transfer: boolean): void {
  if (key === undefined) return;
  for (const other of world.state.prices.values()) {
    if (other.id === price.id || other.lookup_key !== key || !other.active) continue;
    if (!transfer)
      throw invalid(`A price (\`${other.id}\`) already uses that lookup key.`, { param: 'lookup_key' });
    world.update('price.updated', other, { lookup_key: null });
  }
  price.lookup_key = key;
}

function productFor(world: World, params: z.output<typeof createParams>): string {
  if (params.product !== undefined) return findProduct(world, params.product, 'product').id;
  const data = params.product_data;
  if (data === undefined)
    throw invalid('You must provide one of `product` or `product_data`.', {
      code: 'parameter_missing',
      param: 'product',
    });
  const product = createProduct(world, data.name);
  product.metadata = mergeMetadata(null, data.metadata);
  product.unit_label = data.unit_label ?? null;
  world.emit('product.created', product);
  return product.id;
}

export const priceRoutes: Route[] = [
  route('POST', '/prices', createParams, ({ world, params }) => {
    const price = createPrice(world, productFor(world, params), params);
    price.active = params.active ?? true;
    price.nickname = params.nickname ?? null;
    price.metadata = mergeMetadata(null, params.metadata);
    takeLookupKey(world, price, params.lookup_key, params.transfer_lookup_key ?? false);
    world.emit('price.created', price);
    return price;
  }),
  route('GET', '/prices', listParams, ({ world, params, path }) =>
    page(
      world.state.prices.values(),
      params,
      path,
      (price) =>
        inRange(price.created, params.created) &&
        (params.active === undefined || price.active === params.active) &&
        (params.currency === undefined || price.currency === params.currency) &&
        (params.product === undefined || price.product === params.product) &&
        (params.type === undefined || price.type === params.type) &&
        (params.recurring?.interval === undefined ||
          price.recurring?.interval === params.recurring.interval) &&
        (params.lookup_keys === undefined || params.lookup_keys.includes(price.lookup_key ?? '')),
    ),
  ),
  route('GET', '/prices/:id', noParams, ({ world, id }) => findPrice(world, id)),
  route('POST', '/prices/:id', updateParams, ({ world, params, id }) => {
    const price = findPrice(world, id);
    takeLookupKey(world, price, params.lookup_key, params.transfer_lookup_key ?? false);
    world.update('price.updated', price, {
      active: params.active ?? price.active,
      nickname: params.nickname ?? price.nickname,
      metadata: mergeMetadata(price.metadata, params.metadata),
    });
    return price;
  }),
];
