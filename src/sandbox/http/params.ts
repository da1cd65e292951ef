import { z } from 'zod';

// Form values are text; these turn them into what the API reference calls them.

export const text = z.string().max(5000);

export const integer = z
  .string()
  .regex(/^-?\d{1,15}$/, 'Invalid integer')
  .transform(Number);

export const positive = integer.refine(
  (value) => value > 0,
  'This value must be greater than or equal to 1.',
);

/** Zero is a quantity too: the item stays and costs nothing. */
export const quantity = integer.refine((value) => value >= 0, 'Invalid non-negative integer');

export const flag = z.enum(['true', 'false']).transform((value) => value === 'true');

export const decimal = z
  .string()
  .regex(/^\d{1,12}(\.\d{1,4})?$/, 'Invalid decimal')
  .transform(Number);

/** A valid parameter of Stripe's that the sandbox has no use for: refused, because ignoring it would be a lie. */
export const notModelled = z
  .custom<undefined>((value) => value === undefined, 'This sandbox does not model this parameter')
  .optional();

/** Accepted and kept nowhere: it would only be seen on paper or by a bank. */
export const cosmetic = z.unknown().optional();

/** An empty value clears the field. */
export const unset = z.literal('').transform(() => null);

/** `metadata[key]=` deletes one key, `metadata=` deletes all. */
export const metadata = z.union([
  z.literal('').transform(() => null),
  z.record(z.string().max(40), z.string().max(500)),
]);

export function mergeMetadata(
  current: Record<string, string> | null,
  changes: Record<string, string> | null | undefined,
): Record<string, string> {
  if (changes === undefined) return current ?? {};
  const merged = changes === null ? {} : { ...current, ...changes };
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== ''));
}

export const address = z.strictObject({
  city: text.optional(),
  country: text.optional(),
  line1: text.optional(),
  line2: text.optional(),
  postal_code: text.optional(),
  state: text.optional(),
});

export const timeRange = z.union([
  integer,
  z.strictObject({
    gt: integer.optional(),
    gte: integer.optional(),
    lt: integer.optional(),
    lte: integer.optional(),
  }),
]);

export type TimeRange = z.output<typeof timeRange>;

export function inRange(value: number, range: TimeRange | undefined): boolean {
  if (range === undefined) return true;
  if (typeof range === 'number') return value === range;
  const { gt = -Infinity, gte = -Infinity, lt = Infinity, lte = Infinity } = range;
  return value > gt && value >= gte && value < lt && value <= lte;
}

export const noParams = z.strictObject({});

export const pageParams = {
  limit: integer.optional(),
  starting_after: text.optional(),
  ending_before: text.optional(),
};

export interface Page {
  limit?: number | undefined;
  starting_after?: string | undefined;
  ending_before?: string | undefined;
}

/** Of the parameters of the same name, those that were given. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
