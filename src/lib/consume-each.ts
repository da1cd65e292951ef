/** Many consumes of one request, each decided by itself. */
import type { Context } from '../context.ts';
import { batcherOf } from './consume-batcher.ts';
import { type ConsumeInput, type ConsumeResult, consumeAnswer, Pending } from './credits.ts';
import type { Outcome } from './outcomes.ts';
import type { Answer, ChangeRequest } from './requests.ts';

/**
 * What `consume` does for each, at one time of one clock.
 * @returns by place: its answer, or what `consume` would throw
 */
export async function consumeEach<Input extends ConsumeInput>(
  context: Context,
  inputs: readonly Input[],
  requestOf: (input: Input) => ChangeRequest,
): Promise<Outcome<Answer<ConsumeResult>>[]> {
  const now = context.clock.now();
  const pending: Pending[] = [];
  const asked = inputs.map((input) => {
    const one = outcomeOf(() => new Pending(context, input, requestOf(input), now));
    if ('result' in one) pending.push(one.result);
    return one;
  });
  const decisions = await batcherOf(context.pool).decideEach(pending);
  let next = 0;
  return asked.map((one) => {
    if ('error' in one) return one;
    const decided = decisions[next++] ?? { error: new Error('A consume was left undecided.') };
    if ('error' in decided) return decided;
    return outcomeOf(() => consumeAnswer(context, one.result, decided.result));
  });
}

function outcomeOf<Result>(make: () => Result): Outcome<Result> {
  try {
    return { result: make() };
  } catch (error) {
    return { error };
  }
}
