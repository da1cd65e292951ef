import { z } from 'zod';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  flag,
  inRange,
  mergeMetadata,
  metadata,
  noParams,
  pageParams,
  text,
  timeRange,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { newId } from '../ids.ts';
import type { Plan, Price } from '../wire.ts';
import type { World } from '../world.ts';
import { type PriceData, priceDataParams, taxBehavior } from './price-params.ts';
import { createProduct, findProduct } from './products.ts';

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
  product: text.optional(),
  product_data: z
    .strictObject({ name: text, metadata: metadata.optional(), unit_label: text.optional() })
    .optional(),
  transfer_lookup_key: flag.optional(),
});
const updateParams = z.strictObject({ ...shared, transfer_lookup_key: flag.optional() });
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

export function findPrice(world: World, id: string, param?: string): Price {
  const price = world.state.prices.get(id);
  if (price === undefined) throw missing('price', id, param);
  return price;
}

export function createPrice(world: World, product: string, data: PriceData): Price {
  const amount = data.unit_amount ?? data.unit_amount_decimal;
  if (amount === undefined || amount < 0)
    throw invalid('Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.', {
      code: 'parameter_missing',
      param: 'unit_amount',
    });
  const price = {
    id: newId('price'),
    object: 'price',
    active: true,
    billing_scheme: 'per_unit',
    created: world.now(),
    currency: data.currency,
    custom_unit_amount: null,
    livemode: false,
    lookup_key: null,
    metadata: {},
    nickname: null,
    product,
    recurring:
      data.recurring === undefined
        ? null
        : {
            interval: data.recurring.interval,
            interval_count: data.recurring.interval_count ?? 1,
            meter: null,
            trial_period_days: data.recurring.trial_period_days ?? null,
            usage_type: data.recurring.usage_type ?? 'licensed',
          },
    tax_behavior: data.tax_behavior ?? 'unspecified',
    tiers_mode: null,
    transform_quantity: null,
    type: data.recurring === undefined ? 'one_time' : 'recurring',
    unit_amount: Number.isInteger(amount) ? amount : null,
    unit_amount_decimal: String(amount),
  } satisfies Price;
  world.state.prices.set(price.id, price);
  return price;
}

/** The older view of a recurring price, still shown in subscription items. */
export function planOf(price: Price): Plan {
  return {
    id: price.id,
    object: 'plan',
    active: price.active,
    amount: price.unit_amount,
    amount_decimal: price.unit_amount_decimal,
    billing_scheme: price.billing_scheme,
    created: price.created,
    currency: price.currency,
    interval: price.recurring?.interval ?? 'month',
    interval_count: price.recurring?.interval_count ?? 1,
    livemode: false,
    metadata: price.metadata,
    meter: null,
    nickname: price.nickname,
    product: price.product,
    tiers_mode: null,
    transform_usage: null,
    trial_period_days: price.recurring?.trial_period_days ?? null,
    usage_type: 'licensed',
  } satisfies Plan;
}

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
