import { z } from 'zod';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  flag,
  given,
  inRange,
  mergeMetadata,
  metadata,
  noParams,
  notModelled,
  pageParams,
  text,
  timeRange,
  unset,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { newId } from '../ids.ts';
import type { Product } from '../wire.ts';
import type { World } from '../world.ts';
import { createPrice } from './price-object.ts';
import { priceDataParams } from './price-params.ts';

const fields = {
  active: flag.optional(),
  description: z.union([unset, text]).optional(),
  images: z.array(text).max(8).optional(),
  marketing_features: z.array(z.strictObject({ name: text })).optional(),
  package_dimensions: notModelled,
  metadata: metadata.optional(),
  statement_descriptor: text.optional(),
  tax_code: z.union([unset, text]).optional(),
  tax_details: notModelled,
  unit_label: z.union([unset, text]).optional(),
  url: z.union([unset, text]).optional(),
};
const createParams = z.strictObject({
  ...fields,
  id: text.optional(),
  name: text.min(1),
  shippable: flag.optional(),
  type: z.enum(['good', 'service']).optional(),
  default_price_data: z.strictObject(priceDataParams).optional(),
});
const updateParams = z.strictObject({
  ...fields,
  name: text.optional(),
  default_price: text.optional(),
  shippable: flag.optional(),
});
const listParams = z.strictObject({
  ...pageParams,
  active: flag.optional(),
  created: timeRange.optional(),
  ids: z.array(text).optional(),
  shippable: flag.optional(),
  url: text.optional(),
});

export function findProduct(world: World, id: string, param?: string): Product {
  const product = world.state.products.get(id);
  if (product === undefined) throw missing('product', id, param);
  return product;
}

export function createProduct(world: World, name: string, id = newId('prod', 14)): Product {
  const product = {
    id,
    object: 'product',
    active: true,
    created: world.now(),
    default_price: null,
    description: null,
    images: [],
    livemode: false,
    marketing_features: [],
    metadata: {},
    name,
    package_dimensions: null,
    shippable: null,
    statement_descriptor: null,
    tax_code: null,
    tax_details: null,
    type: 'service',
    unit_label: null,
    updated: world.now(),
    url: null,
  } satisfies Product;
  world.state.products.set(product.id, product);
  return product;
}

export const productRoutes: Route[] = [
  route('POST', '/products', createParams, ({ world, params }) => {
    const { id, name, metadata: tags, default_price_data: priceData, ...rest } = params;
    const product = createProduct(world, name, id);
    Object.assign(product, given(rest), { metadata: mergeMetadata(null, tags) });
    world.emit('product.created', product);
    if (priceData !== undefined) {
      const price = createPrice(world, product.id, priceData);
      world.emit('price.created', price);
      product.default_price = price.id;
    }
    return product;
  }),
  route('GET', '/products', listParams, ({ world, params, path }) =>
    page(
      world.state.products.values(),
      params,
      path,
      (product) =>
        inRange(product.created, params.created) &&
        (params.active === undefined || product.active === params.active) &&
        (params.ids === undefined || params.ids.includes(product.id)),
    ),
  ),
  route('GET', '/products/:id', noParams, ({ world, id }) => findProduct(world, id)),
  route('POST', '/products/:id', updateParams, ({ world, params, id }) => {
    const product = findProduct(world, id);
    const { metadata: tags, ...rest } = params;
    world.update('product.updated', product, {
      ...given(rest),
      metadata: mergeMetadata(product.metadata, tags),
      updated: world.now(),
    });
    return product;
  }),
  route('DELETE', '/products/:id', noParams, ({ world, id }) => {
    const product = findProduct(world, id);
    // Products with prices can only be archived (https://docs.stripe.com/api/products/delete).
    if ([...world.state.prices.values()].some((price) => price.product === id))
      throw invalid('This product cannot be deleted because it has one or more user-created prices.', {
        param: 'id',
      });
    world.state.products.delete(id);
    world.emit('product.deleted', product);
    return { id, object: 'product', deleted: true };
  }),
];
