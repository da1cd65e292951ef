import { z } from 'zod';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { flag, mergeMetadata, metadata, noParams, pageParams, text, unset } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { newId, randomText } from '../ids.ts';
import type { WebhookEndpoint } from '../wire.ts';
import type { World } from '../world.ts';

const url = z.url('Invalid URL: An explicit scheme (such as https) must be provided.');
const createParams = z.strictObject({
  api_version: z
    .string()
    .regex(/^\d{4}-\d{2}-\d{2}(\.\w+)?$/, 'Invalid Stripe API version')
    .optional(),
  connect: flag.optional(),
  description: z.union([unset, text]).optional(),
  enabled_events: z.array(text).min(1),
  metadata: metadata.optional(),
  url,
});
const updateParams = z.strictObject({
  description: z.union([unset, text]).optional(),
  disabled: flag.optional(),
  enabled_events: z.array(text).min(1).optional(),
  metadata: metadata.optional(),
  url: url.optional(),
});

function findEndpoint(world: World, id: string): WebhookEndpoint {
  const endpoint = world.state.webhookEndpoints.get(id);
  if (endpoint === undefined) throw missing('webhook endpoint', id);
  return endpoint;
}

const newSecret = (): string => `whsec_${randomText(32)}`;

export function createEndpoint(
  world: World,
  given: { url: string; secret: string; enabledEvents: string[] },
): WebhookEndpoint {
  const endpoint = {
    id: newId('we'),
    object: 'webhook_endpoint',
    // Null = the account's default version.
    api_version: null,
    application: null,
    created: world.now(),
    description: null,
    enabled_events: given.enabledEvents,
    livemode: false,
    metadata: {},
    status: 'enabled',
    url: given.url,
  } satisfies WebhookEndpoint as WebhookEndpoint;
  world.state.webhookEndpoints.set(endpoint.id, endpoint);
  world.state.webhookSecrets.set(endpoint.id, given.secret);
  return endpoint;
}

/** A new secret; the old one goes on signing beside it for a while. The API has no call for it, the Dashboard has. */
export function rollSecret(world: World, id: string, expiresInSeconds: number): object {
  const endpoint = findEndpoint(world, id);
  const { webhookSecrets, rollingSecrets } = world.state;
  const expiresAt = world.clock.now() + expiresInSeconds;
  rollingSecrets.set(id, { secret: webhookSecrets.get(id) ?? '', expiresAt });
  const secret = newSecret();
  webhookSecrets.set(id, secret);
  return { ...endpoint, secret, previousSecretExpiresAt: new Date(expiresAt * 1000).toISOString() };
}

export const webhookEndpointRoutes: Route[] = [
  route('POST', '/webhook_endpoints', createParams, ({ world, params }) => {
    const secret = newSecret();
    const endpoint = createEndpoint(world, { url: params.url, secret, enabledEvents: params.enabled_events });
    endpoint.api_version = params.api_version ?? null;
    endpoint.description = params.description ?? null;
    endpoint.metadata = mergeMetadata(null, params.metadata);
    // Only this answer ever shows the secret.
    return { ...endpoint, secret };
  }),
  route('GET', '/webhook_endpoints', z.strictObject(pageParams), ({ world, params, path }) =>
    page(world.state.webhookEndpoints.values(), params, path),
  ),
  route('GET', '/webhook_endpoints/:id', noParams, ({ world, id }) => findEndpoint(world, id)),
  route('POST', '/webhook_endpoints/:id', updateParams, ({ world, params, id }) => {
    const endpoint = findEndpoint(world, id);
    endpoint.url = params.url ?? endpoint.url;
    endpoint.enabled_events = params.enabled_events ?? endpoint.enabled_events;
    if (params.description !== undefined) endpoint.description = params.description;
    if (params.disabled !== undefined) endpoint.status = params.disabled ? 'disabled' : 'enabled';
    endpoint.metadata = mergeMetadata(endpoint.metadata, params.metadata);
    return endpoint;
  }),
  route('DELETE', '/webhook_endpoints/:id', noParams, ({ world, id }) => {
    findEndpoint(world, id);
    const { webhookEndpoints, webhookSecrets, rollingSecrets } = world.state;
    for (const kept of [webhookEndpoints, webhookSecrets, rollingSecrets]) kept.delete(id);
    return { id, object: 'webhook_endpoint', deleted: true };
  }),
];
