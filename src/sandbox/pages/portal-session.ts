import { z } from 'zod';
import { invalid } from '../errors.ts';
import type { PortalConfiguration, PortalSession, Price, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import type { PageAnswer } from './html.ts';

export const VIEWS = ['home', 'update', 'confirm', 'cancel', 'payment_method', 'details'] as const;
export type View = (typeof VIEWS)[number];

/** What the links and forms of the Portal say; a stranger's link can say no more than these. */
export const request = z.strictObject({
  view: z.enum(VIEWS).optional(),
  done: z.enum(['canceled', 'kept', 'updated', 'scheduled', 'payment_method', 'details']).optional(),
  action: z.enum(['cancel', 'undo', 'update', 'payment_method', 'details']).optional(),
  subscription: z.string().max(100).optional(),
  price: z.string().max(200).optional(),
  quantity: z
    .string()
    .regex(/^[1-9]\d{0,5}$/)
    .optional(),
  card: z.string().max(100).optional(),
  outcome: z.enum(['succeeds', 'card_declined']).optional(),
  feedback: z.string().max(100).optional(),
  comment: z.string().max(5000).optional(),
  name: z.string().max(512).optional(),
  email: z.string().max(512).optional(),
  phone: z.string().max(100).optional(),
});
export type Request = z.output<typeof request>;

export interface Visit {
  world: World;
  session: PortalSession;
  configuration: PortalConfiguration;
  path: string;
  asked: Request;
}

export function visitOf(world: World, session: PortalSession, fields: unknown): Visit {
  const parsed = request.safeParse(fields);
  if (!parsed.success) throw invalid('Unknown subscription or action', { param: 'action' });
  const configuration = world.state.portalConfigurations.get(session.configuration as string);
  if (configuration === undefined) throw invalid('The configuration of this session is gone.');
  return { world, session, configuration, path: new URL(session.url).pathname, asked: parsed.data };
}

export function liveSubscriptions({ world, session }: Visit): Subscription[] {
  return [...world.state.subscriptions.values()].filter(
    (one) => one.customer === session.customer && one.ended_at === null,
  );
}

/** The subscription that is asked for, if it is this customer's and still runs. */
export function askedSubscription(visit: Visit): Subscription {
  const found = liveSubscriptions(visit).find((one) => one.id === visit.asked.subscription);
  if (found === undefined) throw invalid('Unknown subscription or action', { param: 'subscription' });
  return found;
}

export function mainItem(subscription: Subscription): SubscriptionItem {
  const [item] = subscription.items.data;
  if (item === undefined) throw invalid('This subscription has no items.');
  return item;
}

/** What the configuration names, or else every plan of the product that is subscribed to. */
export function offeredPrices({ world, configuration }: Visit, subscription: Subscription): Price[] {
  const { price } = mainItem(subscription);
  const named = configuration.features.subscription_update.products?.flatMap(({ prices }) => prices) ?? [];
  return [...world.state.prices.values()].filter(
    (one) =>
      one.recurring !== null &&
      one.active &&
      one.currency === subscription.currency &&
      (named.length > 0 ? named.includes(one.id) : one.product === price.product),
  );
}

export const linkTo = (visit: Visit, query: Record<string, string>): string =>
  `${visit.path}?${new URLSearchParams(query).toString()}`;

export const goHome = (visit: Visit, done: NonNullable<Request['done']>): PageAnswer => {
  const after = visit.session.flow?.after_completion;
  if (after?.type === 'redirect' && after.redirect !== null) return { redirect: after.redirect.return_url };
  return { redirect: linkTo(visit, { view: 'home', done }) };
};
