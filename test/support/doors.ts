// The two ways in which a change of credits is decided: among others that arrive at the same time, and in a transaction of
// its own. Whatever a test proves of one it proves of the other.
import type { Context } from '../../src/context.ts';
import {
  type ConsumeInput,
  type ConsumeResult,
  consume,
  consumeRequest,
  consumeResult,
  consumingOf,
} from '../../src/lib/credits.ts';
import {
  captureHold,
  captureRequest,
  holdRequest,
  placeHold,
  releaseHold,
  releaseRequest,
} from '../../src/lib/holds.ts';
import { refund, refundRequest } from '../../src/lib/refunds.ts';
import type { Answer, ChangeRequest } from '../../src/lib/requests.ts';
import { startWorkflow, workflowRequest } from '../../src/lib/workflows.ts';
import { type AccountRequest, decideGroup } from '../../src/store/account-group.ts';
import { bucketOf } from '../../src/store/bucket.ts';

export type Door = (
  context: Context,
  input: ConsumeInput,
  request: ChangeRequest,
) => Promise<Answer<ConsumeResult>>;

/** Each way of a change. */
export interface Doors {
  consume: Door;
  placeHold: typeof placeHold;
  captureHold: typeof captureHold;
  releaseHold: typeof releaseHold;
  refund: typeof refund;
  startWorkflow: typeof startWorkflow;
}

export const together: Doors = { consume, placeHold, captureHold, releaseHold, refund, startWorkflow };

export async function decideAlone<Result>(
  { pool, catalogue }: Context,
  request: AccountRequest<Result>,
): Promise<Result> {
  const options = { pool, catalogue, waits: true };
  const [decision] = await decideGroup(options, bucketOf(request.userId), [request]);
  if (decision && 'result' in decision) return decision.result;
  throw decision?.error ?? new Error('A request was left undecided.');
}

export const oneByOne: Doors = {
  consume: async (context, input, request) => {
    const consuming = consumingOf(context, input, request);
    const decided = await decideAlone(context, consumeRequest(context, input.userId, consuming));
    const { outcome, entry } = decided;
    return { status: 200, body: consumeResult(input.userId, entry), replayed: outcome === 'replayed' };
  },
  placeHold: (context, ...asked) => decideAlone(context, holdRequest(context, ...asked)),
  captureHold: async (context, ...asked) => decideAlone(context, await captureRequest(context, ...asked)),
  releaseHold: async (context, ...asked) => decideAlone(context, await releaseRequest(context, ...asked)),
  refund: async (context, ...asked) => decideAlone(context, refundRequest(context, ...asked)),
  startWorkflow: (context, ...asked) => decideAlone(context, workflowRequest(context, ...asked)),
};

export const inBatch: Door = together.consume;
export const alone: Door = oneByOne.consume;

export const bothDoors: [name: string, doors: Doors][] = [
  ['together', together],
  ['one by one', oneByOne],
];

export const doors: [name: string, door: Door][] = [
  ['in a batch', inBatch],
  ['alone', alone],
];
