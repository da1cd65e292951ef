/** What was paid for: the lines of paid invoices and of paid Checkout payments, as facts. windows.ts says what they buy. Pure. */
import type { Period } from './period.ts';

export type LineKind = 'full' | 'trial' | 'delta' | 'pack' | 'credit' | 'none';

/** One line of a paid invoice or of a paid Checkout payment, with what became of the whole payment. Money in minor units. */
export interface PaidLine extends Period {
  /** `inv:{invoice}:{line}` or `pack:{session}:{line item}`: the economic fact. */
  key: string;
  kind: LineKind;
  /** The invoice or the session. */
  paymentId: string;
  lineId: string;
  subscriptionId: string | null;
  itemId: string | null;
  /** The plan or the pack; null where the price is not in the catalogue. */
  offer: string | null;
  interval: string | null;
  quantity: number;
  amountMinor: number;
  currency: string;
  paidAt: Date;
  /** Why it gives no tokens. */
  note: string | null;
  money: PaymentMoney;
}

/** A payment as a whole: how much was paid and how much of it went back, all of them cumulative. */
export interface PaymentMoney {
  paidMinor: number;
  refundedMinor: number;
  disputedMinor: number;
  creditedMinor: number;
  /** When the last of it was refunded or disputed; grants that landed later settle what it makes a debt. */
  returnedAt?: Date | null;
}

export function returnedMinor({ refundedMinor, disputedMinor, creditedMinor }: PaymentMoney): number {
  return refundedMinor + disputedMinor + creditedMinor;
}

/** The part of a grant that payment refunds, disputes and credit notes take back (stripe.md B7); rounded down. */
export function clawTarget({ money }: Pick<PaidLine, 'money'>, amountTokens: number): number {
  const returned = returnedMinor(money);
  if (returned <= 0 || money.paidMinor <= 0) return 0;
  if (returned >= money.paidMinor) return amountTokens;
  return Number((BigInt(amountTokens) * BigInt(returned)) / BigInt(money.paidMinor));
}
