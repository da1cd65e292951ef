import { z } from 'zod';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { inRange, mergeMetadata, metadata, noParams, pageParams, text, timeRange } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { CheckoutSession } from '../wire.ts';
import type { World } from '../world.ts';
import { createSession } from './checkout-create.ts';
import { createParams } from './checkout-params.ts';

const listParams = z.strictObject({
  ...pageParams,
  created: timeRange.optional(),
  customer: text.optional(),
  payment_intent: text.optional(),
  status: z.enum(['complete', 'expired', 'open']).optional(),
  subscription: text.optional(),
});

export function findSession(world: World, id: string): CheckoutSession {
  const session = world.state.sessions.get(id);
  if (session === undefined) throw missing('checkout.session', id, 'id');
  return session;
}

export const checkoutSessionRoutes: Route[] = [
  route('POST', '/checkout/sessions', createParams, ({ world, params, version }) =>
    createSession(world, params, version),
  ),
  route('GET', '/checkout/sessions', listParams, ({ world, params, path }) =>
    page(
      world.state.sessions.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        (params.customer === undefined || one.customer === params.customer) &&
        (params.payment_intent === undefined || one.payment_intent === params.payment_intent) &&
        (params.status === undefined || one.status === params.status) &&
        (params.subscription === undefined || one.subscription === params.subscription),
    ),
  ),
  route('GET', '/checkout/sessions/:id', noParams, ({ world, id }) => findSession(world, id)),
  route(
    'POST',
    '/checkout/sessions/:id',
    z.strictObject({ metadata: metadata.optional() }),
    ({ world, params, id }) => {
      const session = findSession(world, id);
      session.metadata = mergeMetadata(session.metadata, params.metadata);
      return session;
    },
  ),
  route(
    'GET',
    '/checkout/sessions/:id/line_items',
    z.strictObject(pageParams),
    ({ world, params, id, path }) =>
      page([...(world.state.sessionLineItems.get(findSession(world, id).id) ?? [])].reverse(), params, path),
  ),
  route('POST', '/checkout/sessions/:id/expire', noParams, ({ world, id }) => {
    const session = findSession(world, id);
    if (session.status !== 'open')
      throw invalid(
        `Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of \`${session.status}\`.`,
      );
    Object.assign(session, { status: 'expired', url: null });
    world.emit('checkout.session.expired', session);
    return session;
  }),
];
