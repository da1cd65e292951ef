/** Paying through Stripe: hosted Checkout and Portal pages, and changes of the subscription. */
import { z } from 'zod';
import {
  cancelSubscription,
  confirmCheckout,
  createCheckout,
  createPortalSession,
  resumeSubscription,
} from '../../stripe/billing.ts';
import { type Route, route } from '../route.ts';
import { answers, subscription } from '../schemas/answers.ts';
import { catalogueName, httpUrl, id, oneOf, userId } from '../schemas/inputs.ts';

const TAG = 'Billing';
const auth = { kind: 'apiKey', scopes: ['billing'] } as const;
const idempotency = 'optional' as const;

const checkoutCreated = z
  .strictObject({ sessionId: z.string(), url: z.url() })
  .meta({ id: 'CheckoutSession' });
const portalCreated = z.strictObject({ url: z.url() }).meta({ id: 'PortalSession' });
const confirmed = z
  .strictObject({
    status: z.string().nullable(),
    paymentStatus: z.string().nullable(),
    userId: z.string(),
    plan: z.string(),
    credits: z.int(),
    availableTokens: z.int(),
  })
  .meta({ id: 'CheckoutConfirmation' });

export const billingRoutes: Route[] = [
  route({
    method: 'post',
    path: '/v1/billing/checkout',
    summary: 'Start a Checkout for a plan or a pack',
    tag: TAG,
    auth,
    idempotency,
    body: z
      .strictObject({
        userId,
        plan: catalogueName.optional(),
        pack: catalogueName.optional(),
        interval: z.enum(['month', 'year']).optional(),
        successUrl: httpUrl.optional(),
        cancelUrl: httpUrl.optional(),
      })
      .superRefine(oneOf(['plan', 'pack'], { needed: true })),
    responses: { 201: answers('Send the user to `url`.', checkoutCreated) },
    handler: (context, { body, change }) => createCheckout(context, body, change),
  }),
  route({
    method: 'post',
    path: '/v1/billing/checkout/{sessionId}/confirm',
    summary: 'Fulfil a Checkout now',
    description: 'For the success page: the same as the webhook does, and once with it.',
    tag: TAG,
    auth,
    idempotency,
    params: z.strictObject({ sessionId: id }),
    body: z.strictObject({}),
    responses: { 200: answers('What the Checkout has brought.', confirmed) },
    handler: (context, { params, change }) => confirmCheckout(context, params.sessionId, change),
  }),
  route({
    method: 'post',
    path: '/v1/billing/portal',
    summary: "Open Stripe's portal for a user",
    tag: TAG,
    auth,
    idempotency,
    body: z.strictObject({ userId, returnUrl: httpUrl.optional() }),
    responses: { 201: answers('Send the user to `url`.', portalCreated) },
    handler: (context, { body, change }) => createPortalSession(context, body, change),
  }),
  route({
    method: 'post',
    path: '/v1/billing/cancel',
    summary: 'Cancel the subscription, now or at the period end',
    tag: TAG,
    auth,
    idempotency,
    body: z.strictObject({ userId, effective: z.enum(['now', 'period_end']).default('period_end') }),
    responses: { 200: answers('Cancelled, or noted for the period end.', subscription) },
    handler: (context, { body, change }) => cancelSubscription(context, body, change),
  }),
  route({
    method: 'post',
    path: '/v1/billing/resume',
    summary: 'Take back a cancellation at the period end',
    tag: TAG,
    auth,
    idempotency,
    body: z.strictObject({ userId }),
    responses: { 200: answers('Goes on.', subscription) },
    handler: (context, { body, change }) => resumeSubscription(context, body, change),
  }),
];
