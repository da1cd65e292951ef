/** Taking credits and giving them back. */
import { z } from 'zod';
import type { Context } from '../../context.ts';
import { consumeEach } from '../../lib/consume-each.ts';
import { BATCH_ITEM_SCOPE, check, consume } from '../../lib/credits.ts';
import { refund } from '../../lib/refunds.ts';
import { requestHash } from '../../lib/requests.ts';
import { type Route, type RouteAnswer, type RouteInput, route } from '../route.ts';
import * as answer from '../schemas/answers.ts';
import { consumed, consumedBatch } from '../schemas/consumptions.ts';
import { cost, id, itemKey, metadata, oneOf, reason, tokens, userId } from '../schemas/inputs.ts';

const TAG = 'Credits';
const auth = { kind: 'apiKey', scopes: ['consume'] } as const;
const DENIED = answer.answers('The balance is too small; nothing was taken.', answer.insufficientCredits);

const onlyOneCost = oneOf(['credits', 'tokens', 'feature'], { needed: false });

const ITEMS_MAX = 1_000;
const consumeItem = z
  .strictObject({ userId, key: itemKey, ...cost, metadata: metadata.optional() })
  .check(onlyOneCost);

type ConsumeItem = z.output<typeof consumeItem>;

/** Of all that an item asks for; in the order of the hash, which then has nothing to sort. */
function itemHash({ credits, feature, metadata, tokens, userId }: ConsumeItem): Buffer {
  const asked = { credits, feature, metadata, tokens, userId };
  return requestHash(asked satisfies Record<Exclude<keyof ConsumeItem, 'key'>, unknown>);
}

async function consumeItems(
  context: Context,
  input: RouteInput<unknown, unknown, { items: ConsumeItem[] }>,
): Promise<RouteAnswer> {
  const { body, requestId, actor } = input;
  const outcomes = await consumeEach(context, body.items, (item) => ({
    key: item.key,
    scope: BATCH_ITEM_SCOPE,
    hash: itemHash(item),
    requestId,
    actor,
  }));
  const results = outcomes.map((outcome) =>
    'result' in outcome
      ? { status: 200, ...outcome.result.body, replayed: outcome.result.replayed }
      : input.problemOf(outcome.error),
  );
  return { status: 200, body: { results } };
}

export const creditRoutes: Route[] = [
  route({
    method: 'post',
    path: '/v1/credits/consume',
    summary: 'Take credits, all or nothing',
    description: 'Says how much by `credits`, `tokens` or `feature`; by none of them it takes one credit.',
    tag: TAG,
    auth,
    idempotency: 'required',
    body: z.strictObject({ userId, ...cost, metadata: metadata.optional() }).check(onlyOneCost),
    responses: { 200: answer.answers('Taken.', consumed), 402: DENIED },
    handler: (context, { body, change }) => consume(context, body, change),
  }),
  route({
    method: 'post',
    path: '/v1/credits/consume/batch',
    summary: 'Many consumes in one request',
    description:
      'Each item is decided by itself and has a key of its own, so the whole may be repeated. Refusals are among the results.',
    tag: TAG,
    auth,
    idempotency: 'none',
    largeBody: true,
    body: z.strictObject({
      items: z
        .array(consumeItem)
        .min(1, 'must have an item')
        .max(ITEMS_MAX, `must have at most ${ITEMS_MAX} items`),
    }),
    responses: { 200: answer.answers('Decided.', consumedBatch) },
    handler: consumeItems,
  }),
  route({
    method: 'post',
    path: '/v1/credits/check',
    summary: 'Whether a consume would pass now',
    description: 'Advisory: nothing is reserved.',
    tag: TAG,
    auth: { kind: 'apiKey', scopes: ['consume', 'read'] },
    idempotency: 'none',
    body: z.strictObject({ userId, ...cost }).check(onlyOneCost),
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
