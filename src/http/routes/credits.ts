/** Taking credits and giving them back. */
import { z } from 'zod';
import { check, consume, refund } from '../../lib/credits.ts';
import { type Route, route } from '../route.ts';
import * as answer from '../schemas/answers.ts';
import { cost, id, metadata, oneOf, reason, tokens, userId } from '../schemas/inputs.ts';

const TAG = 'Credits';
const auth = { kind: 'apiKey', scopes: ['consume'] } as const;
const DENIED = answer.answers('The balance is too small; nothing was taken.', answer.insufficientCredits);

const onlyOneCost = oneOf(['credits', 'tokens', 'feature'], { needed: false });

export const creditRoutes: Route[] = [
  route({
    method: 'post',
    path: '/v1/credits/consume',
    summary: 'Take credits, all or nothing',
    description: 'Says how much by `credits`, `tokens` or `feature`; by none of them it takes one credit.',
    tag: TAG,
    auth,
    idempotency: 'required',
    body: z.strictObject({ userId, ...cost, metadata: metadata.optional() }).superRefine(onlyOneCost),
    responses: { 200: answer.answers('Taken.', answer.consumed), 402: DENIED },
    handler: (context, { body, change }) => consume(context, body, change),
  }),
  route({
    method: 'post',
    path: '/v1/credits/check',
    summary: 'Whether a consume would pass now',
    description: 'Advisory: nothing is reserved.',
    tag: TAG,
    auth: { kind: 'apiKey', scopes: ['consume', 'read'] },
    idempotency: 'none',
    body: z.strictObject({ userId, ...cost }).superRefine(onlyOneCost),
    responses: { 200: answer.answers('The answer, yes or no.', answer.checked) },
    async handler(context, { body: { userId, ...cost } }) {
      return { status: 200, body: { ...(await check(context, userId, cost)) } };
    },
  }),
  route({
    method: 'post',
    path: '/v1/credits/refund',
    summary: 'Give back credits of one consumption',
    description: 'At most what the entry took, to the grants that it came from; without `tokens`, all of it.',
    tag: TAG,
    auth,
    idempotency: 'required',
    body: z.strictObject({ entryId: id, tokens: tokens.optional(), reason }),
    responses: { 200: answer.answers('Given back.', answer.refunded) },
    handler: (context, { body, change }) => refund(context, body, change),
  }),
];
