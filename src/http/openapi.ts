/** The OpenAPI 3.1 document, from the same table and the same schemas that serve and validate. */
import { OpenAPIRegistry, OpenApiGeneratorV31, type RouteConfig } from '@asteasolutions/zod-to-openapi';
import { type ZodObject, z } from 'zod';
import type { Config } from '../config.ts';
import { ERROR_CODES, type ErrorCode } from '../errors.ts';
import { IDEMPOTENCY_KEY_HEADER } from './idempotency.ts';
import type { Route, RouteResponse } from './route.ts';
import { problem } from './schemas/answers.ts';

export type OpenApiDocument = ReturnType<OpenApiGeneratorV31['generateDocument']>;

const DESCRIPTION = `Credits and subscriptions between an app's users and its expensive calls.

Amounts are **tokens** (whole numbers); a **credit** is 2,000 of them. Errors are \`application/problem+json\`
(RFC 9457) with a stable \`code\`. A POST with an \`Idempotency-Key\` may be repeated: the first answer comes again,
with \`Idempotent-Replayed: true\`, and nothing happens twice. Lists page by \`cursor\`.

API keys have scopes. \`admin\` may do everything that the others may.`;

export function openApiDocument(config: Config, routes: readonly Route[]): OpenApiDocument {
  const registry = new OpenAPIRegistry();
  registry.registerComponent('securitySchemes', 'apiKey', {
    type: 'http',
    scheme: 'bearer',
    description: "The app's backend: `tg_test_…` or `tg_live_…`.",
  });
  registry.registerComponent('securitySchemes', 'userToken', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'An end user, for itself alone; `sub` is its user id.',
  });
  for (const route of routes) registry.registerPath(operation(route));
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: '3.1.0',
    info: { title: 'Tollgate', version: '1.0.0', description: DESCRIPTION },
    servers: [{ url: config.publicUrl }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
  });
}

function operation(route: Route): RouteConfig {
  const scopes =
    route.auth.kind === 'apiKey'
      ? `\n\nScope: ${[...route.auth.scopes, 'admin'].filter(unique).join(' or ')}.`
      : '';
  const description = `${route.description ?? ''}${scopes}`.trim();
  return {
    method: route.method,
    path: route.path,
    operationId: operationId(route),
    summary: route.summary,
    ...(description ? { description } : {}),
    tags: [route.tag],
    security: security(route),
    request: requestOf(route),
    responses: Object.fromEntries([...answersOf(route), ...errorsOf(route)]),
  };
}

const unique = (item: string, index: number, all: readonly string[]) => all.indexOf(item) === index;

/** `post /v1/credits/holds/{holdId}/capture` → `postCreditsHoldsCapture`. */
function operationId({ method, path }: Route): string {
  const words = path.replace(/\{\w+\}/g, (name) => (path.endsWith(name) ? 'one' : '')).split(/[^a-zA-Z0-9]+/);
  const named = words.filter((word) => word !== '' && word !== 'v1');
  return method + named.map((word) => word[0]?.toUpperCase() + word.slice(1)).join('');
}

function security(route: Route): Record<string, string[]>[] {
  if (route.auth.kind === 'apiKey') return [{ apiKey: [] }];
  return route.auth.kind === 'user' ? [{ userToken: [] }] : [];
}

const keyHeader = z.string().min(1).max(255).meta({
  description: 'Printable ASCII, bare or quoted. The same for a retry, a new one for a new request.',
});

function headersOf(route: Route): ZodObject | undefined {
  if (route.rawBody) return z.object({ 'stripe-signature': z.string() });
  if (route.idempotency === 'none') return undefined;
  const isRequired = route.idempotency === 'required';
  return z.object({ [IDEMPOTENCY_KEY_HEADER]: isRequired ? keyHeader : keyHeader.optional() });
}

function requestOf(route: Route): NonNullable<RouteConfig['request']> {
  const headers = headersOf(route);
  const body = route.rawBody ? z.looseObject({}).meta({ description: "Stripe's event." }) : route.body;
  return {
    ...(route.params ? { params: route.params as ZodObject } : {}),
    ...(route.query ? { query: route.query as ZodObject } : {}),
    ...(headers ? { headers } : {}),
    ...(body
      ? { body: { required: !body.safeParse({}).success, content: { 'application/json': { schema: body } } } }
      : {}),
  };
}

type Response = [string, NonNullable<RouteConfig['responses'][string]>];

function answersOf(route: Route): Response[] {
  return Object.entries(route.responses).map(([status, response]) => [
    status,
    answerOf(Number(status), response),
  ]);
}

function answerOf(status: number, { description, schema, contentType }: RouteResponse) {
  const type = contentType ?? (status >= 400 ? 'application/problem+json' : 'application/json');
  return schema ? { description, content: { [type]: { schema } } } : { description };
}

/** Routes besides billing that wait for Stripe. */
const CALLS_STRIPE = /\/(?:backfill|repair)$|\/close\//;

/** The errors that a route may give besides those of its own, by what it takes. */
function errorCodes(route: Route): ErrorCode[] {
  const isPost = route.method === 'post';
  const takesInput = isPost || route.params !== undefined || route.query !== undefined;
  return [
    ...(takesInput ? (['invalid_request'] as const) : []),
    ...(route.auth.kind === 'none' ? [] : (['unauthenticated', 'rate_limited'] as const)),
    ...(route.auth.kind === 'apiKey' ? (['forbidden'] as const) : []),
    ...(route.auth.kind !== 'none' && takesInput ? (['not_found'] as const) : []),
    ...(isPost ? (['payload_too_large'] as const) : []),
    ...(isPost && !route.rawBody ? (['unsupported_media_type'] as const) : []),
    ...(route.idempotency === 'none' ? [] : (['conflict', 'idempotency_key_reused'] as const)),
    ...(route.tag === 'Billing' || CALLS_STRIPE.test(route.path) ? (['stripe_unavailable'] as const) : []),
    'internal_error',
    'unavailable',
  ];
}

function errorsOf(route: Route): Response[] {
  const own = new Set(Object.keys(route.responses));
  return errorCodes(route)
    .map((code) => ERROR_CODES[code])
    .filter(({ status }) => !own.has(String(status)))
    .map(({ status, title }) => [String(status), answerOf(status, { description: title, schema: problem })]);
}
