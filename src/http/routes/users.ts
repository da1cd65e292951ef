/** Users, and what there is to read about them. */
import { z } from 'zod';
import { FREE_PLAN } from '../../domain/plans.ts';
import { TollgateError } from '../../errors.ts';
import { explainEntry } from '../../lib/explain.ts';
import { listLedger, listUserGrants } from '../../lib/lists.ts';
import { readUsageAt } from '../../lib/usage-at.ts';
import { readSubscription, readUsage, readUser, signUp, userNow } from '../../lib/users.ts';
import { deleteProfile } from '../../store/users.ts';
import { type Principal, type Route, route } from '../route.ts';
import * as answer from '../schemas/answers.ts';
import { explainedEntry } from '../schemas/explanations.ts';
import { catalogueName, id, page, periodDays, timestamp, userId, userParams } from '../schemas/inputs.ts';

const TAG = 'Users';
const read = { kind: 'apiKey', scopes: ['read'] } as const;

/** A paid plan without a payment is money given away, which taking credits does not entitle to. */
function refusePaidPlan(plan: string | undefined, principal: Principal): void {
  if (plan === undefined || plan === FREE_PLAN) return;
  const scopes = principal.kind === 'apiKey' ? principal.scopes : [];
  if (scopes.includes('billing') || scopes.includes('admin')) return;
  throw new TollgateError(
    'forbidden',
    'A plan other than free takes an API key with the scope billing or admin.',
  );
}

export const userRoutes: Route[] = [
  route({
    method: 'post',
    path: '/v1/users',
    summary: 'Sign a user up with the allowance of its plan',
    description:
      'For a known user it fills in what is missing of the profile and grants nothing. A plan other than `free` takes the scope `billing` or `admin`.',
    tag: TAG,
    auth: { kind: 'apiKey', scopes: ['consume'] },
    idempotency: 'none',
    body: z.strictObject({
      userId,
      email: z.email('must be an e-mail address').max(254).optional(),
      name: z.string().min(1).max(200).optional(),
      plan: catalogueName.optional(),
      periodDays: periodDays.optional(),
    }),
    responses: {
      200: answer.answers('Was there already; nothing was granted.', answer.user),
      201: answer.answers('Signed up.', answer.user),
    },
    async handler(context, { body, principal }) {
      refusePaidPlan(body.plan, principal);
      const isNew = await signUp(context, body);
      return { status: isNew ? 201 : 200, body: await readUser(context, body.userId) };
    },
  }),
  route({
    method: 'get',
    path: '/v1/users/{userId}',
    summary: 'A user',
    tag: TAG,
    auth: read,
    idempotency: 'none',
    params: userParams,
    responses: { 200: answer.answers('The user.', answer.user) },
    async handler(context, { params }) {
      return { status: 200, body: await readUser(context, params.userId) };
    },
  }),
  route({
    method: 'get',
    path: '/v1/users/{userId}/usage',
    summary: 'Balance and usage of a user, now or as of then',
    description:
      'With `at`, the balance as of that time, read off the ledger. Entries carry the time of business, and what fell due is stamped with its due date, so the balance of a time that has passed does not change.',
    tag: TAG,
    auth: read,
    idempotency: 'none',
    params: userParams,
    query: z.strictObject({ at: timestamp.optional() }),
    responses: {
      200: answer.answers(
        'The present balance; with `at`, the balance as of then.',
        z.union([answer.serviceUsage, answer.usageAt]),
      ),
    },
    async handler(context, { params: { userId }, query: { at } }) {
      const body = at ? await readUsageAt(context, userId, at) : await readUsage(context, userId);
      return { status: 200, body };
    },
  }),
  route({
    method: 'get',
    path: '/v1/users/{userId}/ledger',
    summary: 'Ledger of a user, newest first',
    tag: TAG,
    auth: read,
    idempotency: 'none',
    params: userParams,
    query: page,
    responses: { 200: answer.answers('A page.', answer.pageOf(answer.ledgerEntry)) },
    async handler(context, { params, query }) {
      return { status: 200, body: await listLedger(context, params.userId, query) };
    },
  }),
  route({
    method: 'get',
    path: '/v1/users/{userId}/ledger/{entryId}',
    summary: 'A ledger entry, explained down to its grants and their payments',
    tag: TAG,
    auth: read,
    idempotency: 'none',
    params: userParams.extend({ entryId: id }),
    responses: { 200: answer.answers('The entry and what is behind it.', explainedEntry) },
    async handler(context, { params }) {
      return { status: 200, body: await explainEntry(context, params.userId, params.entryId) };
    },
  }),
  route({
    method: 'get',
    path: '/v1/users/{userId}/grants',
    summary: 'Grants of a user, newest first',
    tag: TAG,
    auth: read,
    idempotency: 'none',
    params: userParams,
    query: page,
    responses: { 200: answer.answers('A page.', answer.pageOf(answer.grant)) },
    async handler(context, { params, query }) {
      return { status: 200, body: await listUserGrants(context, params.userId, query) };
    },
  }),
  route({
    method: 'get',
    path: '/v1/users/{userId}/subscription',
    summary: 'Plan and Stripe subscription of a user',
    tag: TAG,
    auth: read,
    idempotency: 'none',
    params: userParams,
    responses: { 200: answer.answers('The subscription.', answer.subscription) },
    async handler(context, { params }) {
      return { status: 200, body: await readSubscription(context, params.userId) };
    },
  }),
  route({
    method: 'delete',
    path: '/v1/users/{userId}/profile',
    summary: 'Erase e-mail and name; the ledger stays',
    tag: TAG,
    auth: { kind: 'apiKey', scopes: ['consume'] },
    idempotency: 'none',
    params: userParams,
    responses: { 204: { description: 'Erased, or there was nothing to erase.' } },
    async handler(context, { params }) {
      await userNow(context, params.userId);
      await deleteProfile(context.db, params.userId);
      return { status: 204 };
    },
  }),
];
