/** What reconciliation may find: each disagreement between Stripe and us has a kind and both sides (docs/finance.md). */

export const DIFFERENCE_KINDS = [
  'missing_grant',
  'missing_line',
  'wrong_line',
  'wrong_amount',
  'extra_grant',
  'extra_line',
  'wrong_plan',
  'lost_subscription',
  'stale_subscription',
  'extra_subscription',
  'refund_not_clawed',
  'clawback_wrong',
  'unknown_customer',
  'unknown_price',
  'window_paid_twice',
  'two_subscriptions',
  'ledger',
] as const;
export type DifferenceKind = (typeof DIFFERENCE_KINDS)[number];

/** One side as it is shown: names and values, dates as ISO 8601. */
export type Side = Record<string, unknown> | null;

export interface Difference {
  kind: DifferenceKind;
  /** What it is about: a line, a grant, a subscription, a customer, a user. One difference per kind and subject. */
  subjectId: string;
  userId: string | null;
  subscriptionId: string | null;
  /** The invoice or the Checkout session. */
  paymentId: string | null;
  grantId: string | null;
  stripeSide: Side;
  ourSide: Side;
  /** The money at stake, in minor units. */
  moneyMinor: number | null;
  currency: string | null;
  /** The tokens at stake. */
  tokens: number | null;
}

type Subject = Pick<Difference, 'kind' | 'subjectId'> & Partial<Difference>;

export function difference(known: Subject): Difference {
  return {
    userId: null,
    subscriptionId: null,
    paymentId: null,
    grantId: null,
    stripeSide: null,
    ourSide: null,
    moneyMinor: null,
    currency: null,
    tokens: null,
    ...known,
  };
}

/** Both sides of the fields in which two pictures of one thing differ; null where they agree. */
export function sidesOf<T extends object>(
  theirs: T,
  ours: T,
  fields: readonly (keyof T & string)[],
): { stripeSide: NonNullable<Side>; ourSide: NonNullable<Side> } | null {
  const stripeSide: NonNullable<Side> = {};
  const ourSide: NonNullable<Side> = {};
  for (const field of fields) {
    const [their, our] = [comparable(theirs[field]), comparable(ours[field])];
    if (their === our) continue;
    stripeSide[field] = their;
    ourSide[field] = our;
  }
  return Object.keys(stripeSide).length === 0 ? null : { stripeSide, ourSide };
}

/** As it is shown; a time as text. */
export function comparable(value: unknown): unknown {
  return value instanceof Date ? value.toISOString() : value;
}
