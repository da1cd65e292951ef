import { z } from 'zod';
import { DAY } from '../calendar.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { flag, inRange, noParams, pageParams, text, timeRange } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { SandboxEvent } from '../wire.ts';
import type { World } from '../world.ts';

const REACHES_BACK_DAYS = 30;

const listParams = z.strictObject({
  ...pageParams,
  created: timeRange.optional(),
  delivery_success: flag.optional(),
  type: text.optional(),
  types: z.array(text).max(20, 'You can only list up to 20 types').optional(),
});

/** A test clock's events carry its time, but are as old as they are. */
function isWithinReach(world: World, event: SandboxEvent): boolean {
  const emittedAt = world.state.emittedAt.get(event.id) ?? event.created;
  return emittedAt >= world.clock.now() - REACHES_BACK_DAYS * DAY;
}

/** Neither the list nor a single call shows what is older (https://docs.stripe.com/api/events). */
export function findEvent(world: World, id: string): SandboxEvent {
  const event = world.state.events.get(id);
  if (event === undefined || !isWithinReach(world, event)) throw missing('event', id);
  return event;
}

/** `customer.*` names a family. */
function isOf(event: SandboxEvent, pattern: string): boolean {
  return pattern.endsWith('*') ? event.type.startsWith(pattern.slice(0, -1)) : event.type === pattern;
}

export const eventRoutes: Route[] = [
  route('GET', '/events', listParams, ({ world, params, path }) => {
    const { type, types, created, delivery_success: delivered } = params;
    if (type !== undefined && types !== undefined)
      throw invalid('You may only specify one of these parameters: type, types.');
    return page(
      world.state.events.values(),
      params,
      path,
      (event) =>
        isWithinReach(world, event) &&
        inRange(event.created, created) &&
        (type === undefined || isOf(event, type)) &&
        (types === undefined || types.some((one) => isOf(event, one))) &&
        (delivered === undefined || delivered === (event.pending_webhooks === 0)),
    );
  }),
  route('GET', '/events/:id', noParams, ({ world, id }) => findEvent(world, id)),
  route(
    'POST',
    '/events/:id/retry',
    z.strictObject({ for_stripecli: flag.optional(), webhook_endpoint: text.optional() }),
    ({ world, params, id }) => {
      const event = findEvent(world, id);
      const wanted = params.webhook_endpoint;
      if (wanted !== undefined && !world.state.webhookEndpoints.has(wanted))
        throw missing('webhook endpoint', wanted, 'webhook_endpoint');
      // `stripe events resend` without an endpoint means the CLI that listens, and nobody else.
      if (params.for_stripecli === true) world.resendToSinks(event);
      else
        for (const endpoint of world.state.webhookEndpoints.values())
          if (wanted === undefined || endpoint.id === wanted) world.resend(event, endpoint);
      return event;
    },
  ),
];
