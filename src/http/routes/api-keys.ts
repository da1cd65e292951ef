/** API keys, by whoever has one with the scope admin. */
import { z } from 'zod';
import { API_KEY_SCOPES, createApiKey, revokeApiKey } from '../../lib/api-keys.ts';
import { listKeys } from '../../lib/lists.ts';
import { type Route, route } from '../route.ts';
import { answers, pageOf } from '../schemas/answers.ts';
import { id, page } from '../schemas/inputs.ts';

const TAG = 'API keys';
const auth = { kind: 'apiKey', scopes: ['admin'] } as const;

const scopes = z.array(z.enum(API_KEY_SCOPES)).min(1, 'name at least one scope').max(API_KEY_SCOPES.length);

const keyFields = {
  id: z.string(),
  prefix: z.string(),
  name: z.string(),
  scopes: z.array(z.enum(API_KEY_SCOPES)),
  createdAt: z.iso.datetime(),
  revokedAt: z.iso.datetime().nullable(),
};
const key = z.strictObject(keyFields).meta({ id: 'ApiKey' });
const newKey = z
  .strictObject({ ...keyFields, key: z.string().meta({ description: 'The key itself, shown only now.' }) })
  .meta({ id: 'NewApiKey' });

export const apiKeyRoutes: Route[] = [
  route({
    method: 'post',
    path: '/v1/admin/api-keys',
    summary: 'Make an API key',
    description: 'Several may live at once: make the next, change over, revoke the last.',
    tag: TAG,
    auth,
    idempotency: 'none',
    body: z.strictObject({
      name: z.string().regex(/\S/, 'must say something').max(100, 'must have at most 100 characters'),
      scopes,
    }),
    responses: { 201: answers('The key, shown once.', newKey) },
    async handler(context, { body, actor }) {
      return { status: 201, body: await createApiKey(context, body, actor) };
    },
  }),
  route({
    method: 'get',
    path: '/v1/admin/api-keys',
    summary: 'API keys, newest first, without their secrets',
    tag: TAG,
    auth,
    idempotency: 'none',
    query: page,
    responses: { 200: answers('A page.', pageOf(key)) },
    async handler(context, { query }) {
      return { status: 200, body: await listKeys(context, query) };
    },
  }),
  route({
    method: 'delete',
    path: '/v1/admin/api-keys/{id}',
    summary: 'Revoke an API key',
    tag: TAG,
    auth,
    idempotency: 'none',
    params: z.strictObject({ id }),
    responses: { 204: { description: 'Revoked, now or before.' } },
    async handler(context, { params, actor }) {
      await revokeApiKey(context, params.id, actor);
      return { status: 204 };
    },
  }),
];
