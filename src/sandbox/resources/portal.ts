import { z } from 'zod';
import { invalid } from '../errors.ts';
import { notModelled, positive, text } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { newId, randomText } from '../ids.ts';
import type { PortalConfiguration, PortalSession } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { configurationOf, portalConfigurationRoutes } from './portal-configurations.ts';
import { findPrice } from './price-object.ts';
import { findSubscription } from './subscriptions.ts';

const flowData = z.strictObject({
  type: z.enum([
    'customer_update',
    'payment_method_update',
    'subscription_cancel',
    'subscription_update',
    'subscription_update_confirm',
  ]),
  after_completion: z
    .strictObject({
      hosted_confirmation: z.strictObject({ custom_message: text.optional() }).optional(),
      redirect: z.strictObject({ return_url: z.url() }).optional(),
      type: z.enum(['hosted_confirmation', 'portal_homepage', 'redirect']),
    })
    .optional(),
  subscription_cancel: z.strictObject({ subscription: text }).optional(),
  subscription_update: z.strictObject({ subscription: text }).optional(),
  subscription_update_confirm: z
    .strictObject({
      items: z
        .array(z.strictObject({ id: text, price: text.optional(), quantity: positive.optional() }))
        .min(1)
        .max(1, 'Only one item can be changed in this flow'),
      subscription: text,
    })
    .optional(),
});
type FlowData = z.output<typeof flowData>;

const sessionParams = z.strictObject({
  after_expiration: notModelled,
  customer_account: notModelled,
  on_behalf_of: notModelled,
  configuration: text.optional(),
  customer: text,
  flow_data: flowData.optional(),
  locale: text.optional(),
  return_url: text.optional(),
});

/** A flow must name its subscription, of this customer, and be a feature of the configuration. */
function checkFlow(world: World, flow: FlowData, customer: string, configuration: PortalConfiguration): void {
  const { type } = flow;
  const feature = type === 'subscription_update_confirm' ? 'subscription_update' : type;
  if (!configuration.features[feature].enabled)
    throw invalid(
      `The flow \`${type}\` is not available because the \`${feature}\` feature is disabled in the portal configuration.`,
      { param: 'flow_data[type]' },
    );
  if (type === 'customer_update' || type === 'payment_method_update') return;
  const details = flow[type];
  if (details === undefined)
    throw invalid(`Missing required param: flow_data[${type}].`, {
      code: 'parameter_missing',
      param: `flow_data[${type}]`,
    });
  const param = `flow_data[${type}][subscription]`;
  const subscription = findSubscription(world, details.subscription, param);
  if (subscription.customer !== customer || subscription.ended_at !== null)
    throw invalid(`The subscription ${subscription.id} cannot be changed by this customer.`, { param });
  const price = flow.subscription_update_confirm?.items[0]?.price;
  if (price !== undefined) findPrice(world, price, 'flow_data[subscription_update_confirm][items][0][price]');
}

function flowOf(flow: FlowData | undefined): PortalSession['flow'] {
  if (flow === undefined) return null;
  const { after_completion: after, type, subscription_cancel: cancel } = flow;
  const { subscription_update: update, subscription_update_confirm: confirm } = flow;
  return {
    after_completion: {
      hosted_confirmation:
        after?.type === 'hosted_confirmation'
          ? { custom_message: after.hosted_confirmation?.custom_message ?? null }
          : null,
      redirect: after?.redirect ?? null,
      type: after?.type ?? 'portal_homepage',
    },
    customer_update: null,
    subscription_cancel: cancel === undefined ? null : { retention: null, subscription: cancel.subscription },
    subscription_pause: null,
    subscription_update: update ?? null,
    subscription_update_confirm:
      confirm === undefined
        ? null
        : {
            discounts: null,
            items: confirm.items.map(({ id, price = null, quantity }) => ({
              id,
              price,
              ...(quantity === undefined ? {} : { quantity }),
            })),
            subscription: confirm.subscription,
          },
    type,
  } satisfies PortalSession['flow'];
}

export const portalRoutes: Route[] = [
  route('POST', '/billing_portal/sessions', sessionParams, ({ world, params }) => {
    const customer = findCustomer(world, params.customer, 'customer');
    const configuration = configurationOf(world, params.configuration);
    if (params.flow_data !== undefined) checkFlow(world, params.flow_data, customer.id, configuration);
    const session = {
      id: newId('bps'),
      object: 'billing_portal.session',
      configuration: configuration.id,
      created: world.now(),
      customer: customer.id,
      customer_account: null,
      flow: flowOf(params.flow_data),
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
  ...portalConfigurationRoutes,
];
