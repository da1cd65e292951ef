// The two ways in which a consume is decided. Whatever a test proves of one it proves of the other.
import type { Context } from '../../src/context.ts';
import {
  type ConsumeInput,
  type ConsumeResult,
  consume,
  consumeAlone,
  consumeResult,
  consumingOf,
} from '../../src/lib/credits.ts';
import type { Answer, ChangeRequest } from '../../src/lib/requests.ts';

export type Door = (
  context: Context,
  input: ConsumeInput,
  request: ChangeRequest,
) => Promise<Answer<ConsumeResult>>;

export const inBatch: Door = consume;

export const alone: Door = async (context, input, request) => {
  const { outcome, entry } = await consumeAlone(context, input.userId, consumingOf(context, input, request));
  return { status: 200, body: consumeResult(input.userId, entry), replayed: outcome === 'replayed' };
};

export const doors: [name: string, door: Door][] = [
  ['in a batch', inBatch],
  ['alone', alone],
];
