/** Reserving credits for work whose cost is not known yet. */
import { z } from 'zod';
import { captureHold, placeHold, releaseHold } from '../../lib/holds.ts';
import { type Route, route } from '../route.ts';
import * as answer from '../schemas/answers.ts';
import { captured } from '../schemas/consumptions.ts';
import {
  capturedCredits,
  capturedTokens,
  cost,
  expiresInSeconds,
  id,
  metadata,
  oneOf,
  userId,
} from '../schemas/inputs.ts';

const TAG = 'Holds';
const auth = { kind: 'apiKey', scopes: ['consume'] } as const;
const holdParams = z.strictObject({ holdId: id });
const DENIED = answer.answers('The balance is too small; nothing changed.', answer.insufficientCredits);

export const holdRoutes: Route[] = [
  route({
    method: 'post',
    path: '/v1/credits/holds',
    summary: 'Reserve credits',
    description: 'What is neither captured nor released goes back when the hold expires (900 s if not said).',
    tag: TAG,
    auth,
    idempotency: 'required',
    body: z
      .strictObject({
        userId,
        ...cost,
        expiresInSeconds: expiresInSeconds.optional(),
        metadata: metadata.optional(),
      })
      .check(oneOf(['credits', 'tokens', 'feature'], { needed: false })),
    responses: { 201: answer.answers('Reserved.', answer.hold), 402: DENIED },
    handler: (context, { body, change }) => placeHold(context, body, change),
  }),
  route({
    method: 'post',
    path: '/v1/credits/holds/{holdId}/capture',
    summary: 'Take what the work has cost',
    description:
      'Any amount from 0, without one what was held. Above it the rest comes from the balance, else 402 and the hold stands. After expiry it is tried as a plain consume.',
    tag: TAG,
    auth,
    idempotency: 'required',
    params: holdParams,
    body: z
      .strictObject({ tokens: capturedTokens.optional(), credits: capturedCredits.optional() })
      .check(oneOf(['tokens', 'credits'], { needed: false })),
    responses: { 200: answer.answers('Taken.', captured), 402: DENIED },
    handler: (context, { params, body, change }) => captureHold(context, { ...params, ...body }, change),
  }),
  route({
    method: 'post',
    path: '/v1/credits/holds/{holdId}/release',
    summary: 'Give back all that was reserved',
    tag: TAG,
    auth,
    idempotency: 'required',
    params: holdParams,
    body: z.strictObject({}),
    responses: { 200: answer.answers('Given back.', answer.released) },
    handler: (context, { params, change }) => releaseHold(context, params.holdId, change),
  }),
];
