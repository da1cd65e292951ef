/** Stripe's door, and what the operator sees of what came through it. */
import { z } from 'zod';
import { StripeEventStatus } from '../../store/inbox.ts';
import { backfillEvents } from '../../stripe/backfill.ts';
import { listStripeEvents, readStripeEvent, replayStripeEvent } from '../../stripe/inbox.ts';
import { receiveWebhook } from '../../stripe/webhook.ts';
import { type Route, route } from '../route.ts';
import { answers, pageOf } from '../schemas/answers.ts';
import { cursor, id, limit, timestamp } from '../schemas/inputs.ts';

const TAG = 'Stripe events';
const auth = { kind: 'apiKey', scopes: ['admin'] } as const;
const status = z.enum(StripeEventStatus);

const time = z.iso.datetime();
const event = z
  .strictObject({
    id: z.string(),
    type: z.string(),
    status,
    origin: z.string(),
    objectId: z.string().nullable(),
    customerId: z.string().nullable(),
    userId: z.string().nullable(),
    livemode: z.boolean(),
    apiVersion: z.string().nullable(),
    deliveries: z.int(),
    attempts: z.int(),
    outcome: z.string().nullable(),
    lastError: z.string().nullable(),
    createdAt: time,
    receivedAt: time,
    nextAttemptAt: time,
    handledAt: time.nullable(),
  })
  .meta({ id: 'StripeEvent' });

export const webhookRoutes: Route[] = [
  route({
    method: 'post',
    path: '/webhooks/stripe',
    summary: 'Where Stripe delivers its events',
    description:
      'Authenticated by `Stripe-Signature`. The event is stored, then answered; it is handled afterwards.',
    tag: TAG,
    auth: { kind: 'none' },
    idempotency: 'none',
    rawBody: true,
    responses: { 200: answers('Stored.', z.strictObject({ received: z.literal(true) })) },
    async handler(context, input) {
      await receiveWebhook(context, input.rawBody, input.header('stripe-signature'));
      return { status: 200, body: { received: true } };
    },
  }),
];

export const stripeEventRoutes: Route[] = [
  route({
    method: 'get',
    path: '/v1/admin/stripe-events',
    summary: 'Received Stripe events, newest first',
    tag: TAG,
    auth,
    idempotency: 'none',
    query: z.strictObject({ status: status.optional(), limit, cursor: cursor.optional() }),
    responses: { 200: answers('A page.', pageOf(event)) },
    async handler(context, { query }) {
      return { status: 200, body: await listStripeEvents(context, query) };
    },
  }),
  route({
    method: 'post',
    path: '/v1/admin/stripe-events/backfill',
    summary: 'Read events from Stripe that were not delivered',
    tag: TAG,
    auth,
    idempotency: 'none',
    body: z.strictObject({ since: timestamp.optional() }),
    responses: { 200: answers('What Stripe had.', z.strictObject({ received: z.int(), added: z.int() })) },
    async handler(context, { body }) {
      return { status: 200, body: await backfillEvents(context, body.since) };
    },
  }),
  route({
    method: 'get',
    path: '/v1/admin/stripe-events/{id}',
    summary: 'A received Stripe event',
    tag: TAG,
    auth,
    idempotency: 'none',
    params: z.strictObject({ id }),
    responses: { 200: answers('The event.', event) },
    async handler(context, { params }) {
      return { status: 200, body: await readStripeEvent(context, params.id) };
    },
  }),
  route({
    method: 'post',
    path: '/v1/admin/stripe-events/{id}/replay',
    summary: 'Handle an event again from the start',
    tag: TAG,
    auth,
    idempotency: 'none',
    params: z.strictObject({ id }),
    body: z.strictObject({}),
    responses: { 200: answers('The event, pending.', event) },
    async handler(context, { params, actor }) {
      return { status: 200, body: await replayStripeEvent(context, params.id, actor) };
    },
  }),
];
