import { z } from 'zod';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  flag,
  given,
  mergeMetadata,
  metadata,
  noParams,
  pageParams,
  positive,
  text,
  unset,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { newId } from '../ids.ts';
import type { PortalConfiguration } from '../wire.ts';
import type { World } from '../world.ts';
import { findPrice } from './price-object.ts';

const prorationBehavior = z.enum(['always_invoice', 'create_prorations', 'none']);
const product = z.strictObject({
  adjustable_quantity: z
    .strictObject({ enabled: flag, maximum: positive.optional(), minimum: positive.optional() })
    .optional(),
  prices: z.array(text),
  product: text,
});
const features = z.strictObject({
  customer_update: z
    .strictObject({ allowed_updates: z.union([unset, z.array(text)]).optional(), enabled: flag.optional() })
    .optional(),
  invoice_history: z.strictObject({ enabled: flag }).optional(),
  payment_method_update: z.strictObject({ enabled: flag }).optional(),
  subscription_cancel: z
    .strictObject({
      cancellation_reason: z
        .strictObject({ enabled: flag, options: z.union([unset, z.array(text)]).optional() })
        .optional(),
      enabled: flag.optional(),
      mode: z.enum(['at_period_end', 'immediately']).optional(),
      proration_behavior: prorationBehavior.optional(),
    })
    .optional(),
  subscription_update: z
    .strictObject({
      default_allowed_updates: z.union([unset, z.array(text)]).optional(),
      enabled: flag.optional(),
      products: z.union([unset, z.array(product).max(10)]).optional(),
      proration_behavior: prorationBehavior.optional(),
      schedule_at_period_end: z
        .strictObject({
          conditions: z
            .union([
              unset,
              z.array(z.strictObject({ type: z.enum(['decreasing_item_amount', 'shortening_interval']) })),
            ])
            .optional(),
        })
        .optional(),
    })
    .optional(),
});
const fields = {
  business_profile: z
    .strictObject({
      headline: z.union([unset, text]).optional(),
      privacy_policy_url: text.optional(),
      terms_of_service_url: text.optional(),
    })
    .optional(),
  default_return_url: z.union([unset, text]).optional(),
  login_page: z.strictObject({ enabled: z.enum(['false']) }).optional(),
  metadata: metadata.optional(),
  name: z.union([unset, text]).optional(),
};
const createParams = z.strictObject({ ...fields, features });
const updateParams = z.strictObject({ ...fields, active: flag.optional(), features: features.optional() });
type Wanted = z.output<typeof features>;
type Features = PortalConfiguration['features'];

const REASONS = [
  'customer_service',
  'low_quality',
  'missing_features',
  'other',
  'switched_service',
  'too_complex',
  'too_expensive',
  'unused',
];

const NOTHING_ENABLED: Features = {
  customer_update: { allowed_updates: [], enabled: false },
  invoice_history: { enabled: false },
  payment_method_update: { enabled: false, payment_method_configuration: null },
  subscription_cancel: {
    cancellation_reason: { enabled: false, feedback_options: null, options: REASONS },
    enabled: false,
    mode: 'at_period_end',
    proration_behavior: 'none',
  },
  subscription_pause: { duration: { interval_options: [], type: 'indefinite' }, enabled: false },
  subscription_update: {
    billing_cycle_anchor: null,
    default_allowed_updates: [],
    enabled: false,
    proration_behavior: 'none',
    schedule_at_period_end: { conditions: [] },
    trial_update_behavior: 'end_trial',
  },
};

function cancelFeature(current: Features['subscription_cancel'], wanted: Wanted['subscription_cancel']) {
  const { cancellation_reason: reason, ...rest } = wanted ?? {};
  return {
    ...current,
    ...given(rest),
    cancellation_reason: {
      ...current.cancellation_reason,
      ...(reason === undefined ? {} : { enabled: reason.enabled }),
      ...(reason?.options == null ? {} : { options: reason.options }),
    },
  };
}

function updateFeature(current: Features['subscription_update'], wanted: Wanted['subscription_update']) {
  const {
    default_allowed_updates: allowed,
    products,
    schedule_at_period_end: schedule,
    ...rest
  } = wanted ?? {};
  return {
    ...current,
    ...given(rest),
    ...(allowed === undefined ? {} : { default_allowed_updates: allowed ?? [] }),
    ...(schedule === undefined ? {} : { schedule_at_period_end: { conditions: schedule.conditions ?? [] } }),
    ...(products === undefined ? {} : { products: (products ?? []).map(offered) }),
  };
}

function offered({ adjustable_quantity: quantity, prices, product: id }: z.output<typeof product>) {
  return {
    adjustable_quantity: {
      enabled: quantity?.enabled ?? false,
      maximum: quantity?.maximum ?? null,
      minimum: quantity?.minimum ?? 1,
    },
    prices,
    product: id,
  };
}

function featuresOf(world: World, current: Features, wanted: Wanted): Features {
  for (const { prices } of wanted.subscription_update?.products ?? [])
    for (const id of prices) findPrice(world, id, 'features[subscription_update][products][0][prices][0]');
  const { customer_update: customer, invoice_history: invoices, payment_method_update: payment } = wanted;
  return {
    customer_update: {
      allowed_updates: customer?.allowed_updates ?? current.customer_update.allowed_updates,
      enabled: customer?.enabled ?? current.customer_update.enabled,
    },
    invoice_history: { enabled: invoices?.enabled ?? current.invoice_history.enabled },
    payment_method_update: {
      enabled: payment?.enabled ?? current.payment_method_update.enabled,
      payment_method_configuration: null,
    },
    subscription_cancel: cancelFeature(current.subscription_cancel, wanted.subscription_cancel),
    subscription_pause: current.subscription_pause,
    subscription_update: updateFeature(current.subscription_update, wanted.subscription_update),
  };
}

function createConfiguration(
  world: World,
  params: Omit<z.output<typeof createParams>, 'features'>,
  wanted: Features,
  isDefault: boolean,
): PortalConfiguration {
  const {
    headline = null,
    privacy_policy_url = null,
    terms_of_service_url = null,
  } = given(params.business_profile ?? {});
  const configuration = {
    id: newId('bpc'),
    object: 'billing_portal.configuration',
    active: true,
    application: null,
    business_profile: { headline, privacy_policy_url, terms_of_service_url },
    created: world.now(),
    default_return_url: params.default_return_url ?? null,
    features: wanted,
    is_default: isDefault,
    livemode: false,
    login_page: { enabled: false, url: null },
    metadata: mergeMetadata(null, params.metadata),
    name: params.name ?? null,
    updated: world.now(),
  } satisfies PortalConfiguration;
  world.state.portalConfigurations.set(configuration.id, configuration);
  return configuration;
}

/** What the Dashboard sets up for a new account; plan changes are off there too until somebody names the plans. */
const DEFAULT: Wanted = {
  customer_update: { allowed_updates: ['email', 'name', 'phone'], enabled: true },
  invoice_history: { enabled: true },
  payment_method_update: { enabled: true },
  subscription_cancel: { enabled: true },
};

export function configurationOf(
  world: World,
  id: string | undefined,
  param = 'configuration',
): PortalConfiguration {
  const all = [...world.state.portalConfigurations.values()];
  const found = id === undefined ? all.find((one) => one.is_default) : all.find((one) => one.id === id);
  if (found !== undefined) return found;
  if (id !== undefined) throw missing('configuration', id, param);
  return createConfiguration(world, {}, featuresOf(world, NOTHING_ENABLED, DEFAULT), true);
}

function update(
  world: World,
  configuration: PortalConfiguration,
  params: z.output<typeof updateParams>,
): PortalConfiguration {
  const { business_profile: profile, default_return_url: url, features: wanted, name } = params;
  world.update('billing_portal.configuration.updated', configuration, {
    active: params.active ?? configuration.active,
    business_profile: { ...configuration.business_profile, ...given(profile ?? {}) },
    default_return_url: url === undefined ? configuration.default_return_url : url,
    features: featuresOf(world, configuration.features, wanted ?? {}),
    metadata: mergeMetadata(configuration.metadata, params.metadata),
    name: name === undefined ? configuration.name : name,
    updated: world.now(),
  });
  return configuration;
}

export const portalConfigurationRoutes: Route[] = [
  route('POST', '/billing_portal/configurations', createParams, ({ world, params }) => {
    const { features: wanted, ...rest } = params;
    const enabled = featuresOf(world, NOTHING_ENABLED, wanted);
    const configuration = createConfiguration(world, rest, enabled, false);
    world.emit('billing_portal.configuration.created', configuration);
    return configuration;
  }),
  route(
    'GET',
    '/billing_portal/configurations',
    z.strictObject({ ...pageParams, active: flag.optional(), is_default: flag.optional() }),
    ({ world, params, path }) =>
      page(
        world.state.portalConfigurations.values(),
        params,
        path,
        (one) =>
          (params.active === undefined || one.active === params.active) &&
          (params.is_default === undefined || one.is_default === params.is_default),
      ),
  ),
  route('GET', '/billing_portal/configurations/:id', noParams, ({ world, id }) =>
    configurationOf(world, id, 'id'),
  ),
  route('POST', '/billing_portal/configurations/:id', updateParams, ({ world, params, id }) =>
    update(world, configurationOf(world, id, 'id'), params),
  ),
];
