/** Paying through Stripe: hosted Checkout and Portal pages, and changes of the subscription. */
import { z } from 'zod';
import {
  cancelSubscription,
  confirmCheckout,
  createCheckout,
  createPortalSession,
  resumeSubscription,
} from '../../stripe/billing.ts';
import { changePlan } from '../../stripe/plan-change.ts';
import { previewChange } from '../../stripe/preview.ts';
import { type Route, route } from '../route.ts';
import { answers, problem, subscription } from '../schemas/answers.ts';
import {
  checkoutCreated,
  confirmed,
  effective,
  interval,
  planChange,
  portalCreated,
  previewed,
  previewInput,
  subscriptionChanged,
} from '../schemas/billing.ts';
import { catalogueName, httpUrl, id, oneOf, userId } from '../schemas/inputs.ts';

const TAG = 'Billing';
const auth = { kind: 'apiKey', scopes: ['billing'] } as const;
const idempotency = 'optional' as const;

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
        interval: interval.optional(),
        successUrl: httpUrl.optional(),
        cancelUrl: httpUrl.optional(),
      })
      .check(oneOf(['plan', 'pack'], { needed: true })),
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
    path: '/v1/billing/preview',
    summary: 'What a change or a cancellation would do',
    description:
      'Money and credits, computed by the code that would do it. Nothing changes, in Stripe or here. It refuses ' +
      'what the change would refuse.',
    tag: TAG,
    auth,
    idempotency: 'none',
    body: previewInput,
    responses: {
      200: answers('The effect.', previewed),
      409: answers('The change would be refused.', problem),
    },
    handler: async (context, { body }) => ({ status: 200, body: await previewChange(context, body) }),
  }),
  route({
    method: 'post',
    path: '/v1/billing/change',
    summary: 'Change plan, interval or quantity of the subscription',
    description:
      'An upgrade is charged and takes effect now, a downgrade at the period end; `effective` says otherwise. The ' +
      'present plan takes back what is to come. Where the payment fails, nothing changes until it is made: a 409 ' +
      'with `hostedInvoiceUrl`.',
    tag: TAG,
    auth,
    idempotency,
    body: planChange,
    responses: { 200: answers('Changed, or noted for the period end.', subscriptionChanged) },
    handler: (context, { body, change }) => changePlan(context, body, change),
  }),
  route({
    method: 'post',
    path: '/v1/billing/cancel',
    summary: 'Cancel the subscription, now or at the period end',
    tag: TAG,
    auth,
    idempotency,
    body: z.strictObject({ userId, effective: effective.default('period_end') }),
    responses: { 200: answers('Cancelled, or noted for the period end.', subscription) },
    handler: (context, { body, change }) => cancelSubscription(context, body, change),
  }),
  route({
    method: 'post',
    path: '/v1/billing/resume',
    summary: 'Take back what is to come at the period end, or end a pause',
    tag: TAG,
    auth,
    idempotency,
    body: z.strictObject({ userId }),
    responses: { 200: answers('Goes on.', subscription) },
    handler: (context, { body, change }) => resumeSubscription(context, body, change),
  }),
];
