import { z } from 'zod';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { flag, given, mergeMetadata, metadata, noParams, pageParams, text, unset } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { newId, randomText } from '../ids.ts';
import type { PortalConfiguration, PortalSession } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';

const prorationBehavior = z.enum(['always_invoice', 'create_prorations', 'none']);
const features = z.strictObject({
  customer_update: z.strictObject({ allowed_updates: z.array(text).optional(), enabled: flag }).optional(),
  invoice_history: z.strictObject({ enabled: flag }).optional(),
  payment_method_update: z.strictObject({ enabled: flag }).optional(),
  subscription_cancel: z
    .strictObject({
      cancellation_reason: z.strictObject({ enabled: flag, options: z.array(text).optional() }).optional(),
      enabled: flag,
      mode: z.enum(['at_period_end', 'immediately']).optional(),
      proration_behavior: prorationBehavior.optional(),
    })
    .optional(),
  subscription_update: z
    .strictObject({
      default_allowed_updates: z.array(text).optional(),
      enabled: flag,
      products: z
        .union([unset, z.array(z.strictObject({ product: text, prices: z.array(text) }))])
        .optional(),
      proration_behavior: prorationBehavior.optional(),
      schedule_at_period_end: z
        .strictObject({ conditions: z.array(z.strictObject({ type: text })).optional() })
        .optional(),
    })
    .optional(),
});
const configurationParams = z.strictObject({
  business_profile: z
    .strictObject({
      headline: text.optional(),
      privacy_policy_url: text.optional(),
      terms_of_service_url: text.optional(),
    })
    .optional(),
  default_return_url: z.union([unset, text]).optional(),
  features,
  metadata: metadata.optional(),
  name: text.optional(),
});
const flowData = z.strictObject({
  type: z.enum([
    'customer_update',
    'payment_method_update',
    'subscription_cancel',
    'subscription_pause',
    'subscription_update',
    'subscription_update_confirm',
  ]),
  after_completion: z.looseObject({}).optional(),
  subscription_cancel: z.looseObject({ subscription: text }).optional(),
  subscription_update: z.looseObject({ subscription: text }).optional(),
  subscription_update_confirm: z.looseObject({ subscription: text }).optional(),
});
const sessionParams = z.strictObject({
  configuration: text.optional(),
  customer: text,
  flow_data: flowData.optional(),
  locale: text.optional(),
  return_url: text.optional(),
});
type Features = z.output<typeof features>;

function featuresOf(wanted: Features): PortalConfiguration['features'] {
  const { customer_update: customer, subscription_cancel: cancel, subscription_update: update } = wanted;
  return {
    customer_update: {
      allowed_updates: customer?.allowed_updates ?? [],
      enabled: customer?.enabled ?? false,
    },
    invoice_history: { enabled: wanted.invoice_history?.enabled ?? false },
    payment_method_update: {
      enabled: wanted.payment_method_update?.enabled ?? false,
      payment_method_configuration: null,
    },
    subscription_cancel: {
      cancellation_reason: {
        enabled: cancel?.cancellation_reason?.enabled ?? false,
        feedback_options: null,
        options: cancel?.cancellation_reason?.options ?? [],
      },
      enabled: cancel?.enabled ?? false,
      mode: cancel?.mode ?? 'at_period_end',
      proration_behavior: cancel?.proration_behavior ?? 'none',
    },
    subscription_pause: { duration: { interval_options: [], type: 'indefinite' }, enabled: false },
    subscription_update: {
      billing_cycle_anchor: null,
      default_allowed_updates: update?.default_allowed_updates ?? [],
      enabled: update?.enabled ?? false,
      proration_behavior: update?.proration_behavior ?? 'none',
      schedule_at_period_end: { conditions: update?.schedule_at_period_end?.conditions ?? [] },
      trial_update_behavior: 'end_trial',
    },
  };
}

function createConfiguration(
  world: World,
  params: z.output<typeof configurationParams>,
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
    features: featuresOf(params.features),
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

function configurationOf(world: World, id: string | undefined): PortalConfiguration {
  const all = [...world.state.portalConfigurations.values()];
  const found = id === undefined ? all.find((one) => one.is_default) : all.find((one) => one.id === id);
  if (found !== undefined) return found;
  if (id !== undefined) throw missing('configuration', id, 'configuration');
  return createConfiguration(world, { features: { subscription_cancel: { enabled: true } } }, true);
}

function flowOf(params: z.output<typeof sessionParams>): PortalSession['flow'] {
  if (params.flow_data === undefined) return null;
  const { type, subscription_cancel: cancel, subscription_update: update } = params.flow_data;
  return {
    after_completion: { hosted_confirmation: null, redirect: null, type: 'portal_homepage' },
    subscription_cancel: cancel === undefined ? null : { retention: null, subscription: cancel.subscription },
    subscription_update: update === undefined ? null : { subscription: update.subscription },
    subscription_update_confirm: null,
    type,
  } as PortalSession['flow'];
}

export const portalRoutes: Route[] = [
  route('POST', '/billing_portal/sessions', sessionParams, ({ world, params }) => {
    const customer = findCustomer(world, params.customer, 'customer');
    const configuration = configurationOf(world, params.configuration);
    const session = {
      id: newId('bps'),
      object: 'billing_portal.session',
      configuration: configuration.id,
      created: world.now(),
      customer: customer.id,
      customer_account: null,
      flow: flowOf(params),
      livemode: false,
      locale: (params.locale ?? null) as PortalSession['locale'],
      on_behalf_of: null,
      return_url: params.return_url ?? configuration.default_return_url,
      url: `${world.baseUrl()}/p/session/test_${randomText(40)}`,
    } satisfies PortalSession;
    world.state.portalSessions.set(session.id, session);
    world.emit('billing_portal.session.created', session);
    return session;
  }),
  route('POST', '/billing_portal/configurations', configurationParams, ({ world, params }) => {
    const configuration = createConfiguration(world, params, false);
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
  route('GET', '/billing_portal/configurations/:id', noParams, ({ world, id }) => configurationOf(world, id)),
];
