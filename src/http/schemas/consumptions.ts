/** What those get who take credits. */
import { z } from 'zod';
import { credits, maybe, part, problem, tokens } from './answers.ts';

const consumedFields = {
  success: z.literal(true),
  entryId: maybe(z.string()),
  tokensUsed: tokens,
  creditsRemaining: credits,
  availableTokens: tokens,
  totalTokensUsed: tokens,
  from: z.array(part),
};

export const consumed = z.strictObject(consumedFields).meta({ id: 'Consumption' });
export const consumedBatch = z
  .strictObject({
    results: z
      .array(
        z.union([
          z.strictObject({
            status: z.literal(200),
            ...consumedFields,
            replayed: z.boolean().meta({ description: 'The first answer to this key again.' }),
          }),
          problem,
        ]),
      )
      .meta({ description: 'One per item, in order: what the item would have got by itself.' }),
  })
  .meta({ id: 'ConsumptionBatch' });
export const captured = z.strictObject({ ...consumedFields, holdId: z.string() }).meta({ id: 'Capture' });
