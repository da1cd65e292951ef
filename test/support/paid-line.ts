import type { PaidLine } from '../../src/domain/paid-lines.ts';

/** A month of pro, paid when it began, on the invoice `in_{id}` of the subscription `of`. */
export function paidLine(
  id: string,
  of: string,
  { start, end }: { start: Date; end: Date },
  changes: Partial<PaidLine> = {},
): PaidLine {
  return {
    key: `inv:in_${id}:il_1`,
    kind: 'full',
    paymentId: `in_${id}`,
    lineId: 'il_1',
    subscriptionId: of,
    itemId: `si_${of}`,
    offer: 'pro',
    interval: 'month',
    quantity: 1,
    amountMinor: 2_000,
    currency: 'usd',
    start,
    end,
    paidAt: start,
    note: null,
    money: { paidMinor: 2_000, refundedMinor: 0, disputedMinor: 0, creditedMinor: 0 },
    ...changes,
  };
}
