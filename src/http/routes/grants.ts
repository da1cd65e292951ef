/** What an administrator gives, takes back and changes by hand; and the catalogue. */
import { z } from 'zod';
import { TOKENS_PER_CREDIT } from '../../domain/plans.ts';
import { grantCredits, voidGrant } from '../../lib/grants.ts';
import { catalogueView, changePlan } from '../../lib/plans.ts';
import { type Route, route } from '../route.ts';
import * as answer from '../schemas/answers.ts';
import {
  catalogueName,
  credits,
  id,
  oneOf,
  periodDays,
  reason,
  timestamp,
  tokens,
  userId,
  userParams,
} from '../schemas/inputs.ts';

const auth = { kind: 'apiKey', scopes: ['admin'] } as const;

export const grantRoutes: Route[] = [
  route({
    method: 'post',
    path: '/v1/users/{userId}/grants',
    summary: 'Give credits',
    tag: 'Grants',
    auth,
    idempotency: 'required',
    params: userParams,
    body: z
      .strictObject({
        credits: credits.optional(),
        tokens: tokens.optional(),
        source: z.enum(['bonus', 'adjustment']),
        expiresAt: timestamp.optional(),
        reason,
      })
      .check(oneOf(['credits', 'tokens'], { needed: true })),
    responses: { 201: answer.answers('Given.', answer.grant) },
    handler(
      context,
      { params, body: { credits = 0, tokens = credits * TOKENS_PER_CREDIT, ...grant }, change },
    ) {
      return grantCredits(context, { ...grant, ...params, tokens }, change);
    },
  }),
  route({
    method: 'post',
    path: '/v1/users/{userId}/grants/{grantId}/void',
    summary: 'Take back what is left of a grant',
    tag: 'Grants',
    auth,
    idempotency: 'required',
    params: z.strictObject({ userId, grantId: id }),
    body: z.strictObject({ reason }),
    responses: { 200: answer.answers('Voided.', answer.grant) },
    handler: (context, { params, body, change }) => voidGrant(context, { ...params, ...body }, change),
  }),
  route({
    method: 'post',
    path: '/v1/users/{userId}/plan',
    summary: 'Change a plan without Stripe',
    tag: 'Plans',
    auth,
    idempotency: 'optional',
    params: userParams,
    body: z.strictObject({
      plan: catalogueName,
      periodDays: periodDays.optional(),
      effective: z.enum(['now', 'period_end']).optional(),
    }),
    responses: { 200: answer.answers('Changed, or noted for the period end.', answer.planChanged) },
    handler: (context, { params, body, change }) => changePlan(context, { ...params, ...body }, change),
  }),
  route({
    method: 'get',
    path: '/v1/plans',
    summary: 'The catalogue: plans, packs and what features cost',
    tag: 'Plans',
    auth: { kind: 'apiKey', scopes: ['consume', 'read', 'billing'] },
    idempotency: 'none',
    responses: { 200: answer.answers('The catalogue.', answer.catalogue) },
    handler: (context) => ({ status: 200, body: catalogueView(context) }),
  }),
];
