/** Many consumes of one request, each decided by itself. */
import type { Context } from '../context.ts';
import { type ConsumeInput, type ConsumeResult, consumeAnswer, decide } from './credits.ts';
import type { Answer, ChangeRequest } from './requests.ts';

/**
 * What `consume` does for each, with one function that waits for all instead of one for each.
 * @returns by place: its answer, or what `consume` would throw
 */
export async function consumeEach<Input extends ConsumeInput>(
  context: Context,
  inputs: readonly Input[],
  requestOf: (input: Input) => ChangeRequest,
): Promise<({ answer: Answer<ConsumeResult> } | { error: unknown })[]> {
  const decisions = await Promise.allSettled(
    inputs.map((input) => {
      try {
        return decide(context, input, requestOf(input));
      } catch (error) {
        return Promise.reject(error);
      }
    }),
  );
  return inputs.map((input, place) => {
    const decided = decisions[place];
    if (decided?.status !== 'fulfilled') return { error: decided?.reason };
    try {
      return { answer: consumeAnswer(context, input, decided.value) };
    } catch (error) {
      return { error };
    }
  });
}
