import { z } from 'zod';
import { activeEntitlements, syncEntitlements } from '../engine/entitlements.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { flag, mergeMetadata, metadata, noParams, pageParams, text } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { newId } from '../ids.ts';
import type { Feature, ProductFeature } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { findProduct } from './products.ts';

const createParams = z.strictObject({
  lookup_key: z.string().min(1).max(80),
  metadata: metadata.optional(),
  name: z.string().min(1).max(80),
});
const updateParams = z.strictObject({
  active: flag.optional(),
  metadata: metadata.optional(),
  name: z.string().min(1).max(80).optional(),
});

function findFeature(world: World, id: string, param?: string): Feature {
  const feature = world.state.features.get(id);
  if (feature === undefined) throw missing('entitlements feature', id, param);
  return feature;
}

function createFeature(world: World, params: z.output<typeof createParams>): Feature {
  for (const other of world.state.features.values())
    if (other.lookup_key === params.lookup_key)
      throw invalid(`A feature with lookup_key \`${params.lookup_key}\` already exists.`, {
        param: 'lookup_key',
      });
  const feature = {
    id: newId('feat'),
    object: 'entitlements.feature',
    active: true,
    livemode: false,
    lookup_key: params.lookup_key,
    metadata: mergeMetadata(null, params.metadata),
    name: params.name,
  } satisfies Feature;
  world.state.features.set(feature.id, feature);
  return feature;
}

/** Whoever has the product gains or loses with it. */
function syncAll(world: World): void {
  for (const customer of world.state.customers.keys()) syncEntitlements(world, customer);
}

function attach(world: World, product: string, id: string): ProductFeature {
  const feature = findFeature(world, id, 'entitlement_feature');
  for (const other of world.state.productFeatures.values())
    if (other.product === product && other.entitlement_feature.id === feature.id)
      throw invalid('This feature is already attached to this product.', { param: 'entitlement_feature' });
  const attached = {
    id: newId('prodft'),
    object: 'product_feature',
    entitlement_feature: feature,
    livemode: false,
  } satisfies ProductFeature;
  world.state.productFeatures.set(attached.id, { ...attached, product });
  syncAll(world);
  return attached;
}

const view = ({ id, object, entitlement_feature, livemode }: ProductFeature): ProductFeature => ({
  id,
  object,
  entitlement_feature,
  livemode,
});

function findAttached(world: World, product: string, id: string): ProductFeature {
  const found = world.state.productFeatures.get(id);
  if (found?.product !== product) throw missing('product_feature', id);
  return view(found);
}

export const entitlementRoutes: Route[] = [
  route('POST', '/entitlements/features', createParams, ({ world, params }) => createFeature(world, params)),
  route(
    'GET',
    '/entitlements/features',
    z.strictObject({ ...pageParams, archived: flag.optional(), lookup_key: text.optional() }),
    ({ world, params, path }) =>
      page(
        world.state.features.values(),
        params,
        path,
        (one) =>
          one.active !== (params.archived ?? false) &&
          (params.lookup_key === undefined || one.lookup_key === params.lookup_key),
      ),
  ),
  route('GET', '/entitlements/features/:id', noParams, ({ world, id }) => findFeature(world, id)),
  route('POST', '/entitlements/features/:id', updateParams, ({ world, params, id }) => {
    const feature = findFeature(world, id);
    feature.active = params.active ?? feature.active;
    feature.name = params.name ?? feature.name;
    feature.metadata = mergeMetadata(feature.metadata, params.metadata);
    for (const one of world.state.productFeatures.values())
      if (one.entitlement_feature.id === id) one.entitlement_feature = feature;
    syncAll(world);
    return feature;
  }),
  route(
    'GET',
    '/entitlements/active_entitlements',
    z.strictObject({ ...pageParams, customer: text }),
    ({ world, params, path }) =>
      page(activeEntitlements(world, findCustomer(world, params.customer, 'customer').id), params, path),
  ),
  route('GET', '/entitlements/active_entitlements/:id', noParams, ({ world, id }) => {
    for (const customer of world.state.customers.keys()) {
      const found = activeEntitlements(world, customer).find((one) => one.id === id);
      if (found !== undefined) return found;
    }
    throw missing('active entitlement', id);
  }),
  route(
    'POST',
    '/products/:id/features',
    z.strictObject({ entitlement_feature: text }),
    ({ world, params, id }) => attach(world, findProduct(world, id).id, params.entitlement_feature),
  ),
  route('GET', '/products/:id/features', z.strictObject(pageParams), ({ world, params, id, path }) => {
    const product = findProduct(world, id).id;
    const own = [...world.state.productFeatures.values()].filter((one) => one.product === product);
    return page(own.map(view), params, path);
  }),
  route('GET', '/products/:id/features/:feature', noParams, ({ world, id, subId }) =>
    findAttached(world, id, subId),
  ),
  route('DELETE', '/products/:id/features/:feature', noParams, ({ world, id, subId }) => {
    findAttached(world, id, subId);
    world.state.productFeatures.delete(subId);
    syncAll(world);
    return { id: subId, object: 'product_feature', deleted: true };
  }),
];
