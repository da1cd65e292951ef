import { z } from 'zod';
import { decimal, integer, notModelled, positive } from '../http/params.ts';

const recurring = z.strictObject({
  interval: z.enum(['day', 'week', 'month', 'year']),
  interval_count: positive.optional(),
  meter: notModelled,
  trial_period_days: positive.optional(),
  usage_type: z.enum(['licensed']).optional(),
});
export const taxBehavior = z.enum(['exclusive', 'inclusive', 'unspecified']);

export const priceDataParams = {
  currency: z
    .string()
    .regex(/^[a-zA-Z]{3}$/, 'Invalid currency')
    .transform((code) => code.toLowerCase()),
  recurring: recurring.optional(),
  tax_behavior: taxBehavior.optional(),
  unit_amount: integer.optional(),
  unit_amount_decimal: decimal.optional(),
};

export interface PriceData {
  currency: string;
  unit_amount?: number | undefined;
  unit_amount_decimal?: number | undefined;
  recurring?: z.output<typeof recurring> | undefined;
  tax_behavior?: 'exclusive' | 'inclusive' | 'unspecified' | undefined;
}
