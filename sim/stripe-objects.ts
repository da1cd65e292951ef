/** The simulated Stripe's objects while they live; their versions are in world.ts. */
import type { PaidLine, PaymentMoney } from '../src/domain/paid-lines.ts';
import type { SubscriptionState } from '../src/domain/subscription.ts';
import { PACK, type Terms } from './catalogue.ts';

export type DunningEnd = 'canceled' | 'unpaid' | 'paused' | 'past_due';

export interface Subscription {
  state: SubscriptionState;
  terms: Terms;
  /** Counted from here, so that a period on the 31st comes back to it. */
  anchor: Date;
  periods: number;
  isFreeByCoupon: boolean;
  isCollectionPaused: boolean;
  dunningEnd: DunningEnd;
  /** Whether windows of it land by the clock: months of a year, or what reaches beyond a moved anchor. */
  landsByClock: boolean;
  /** What takes effect with the next period. */
  scheduled: Terms | null;
  /** Prorations that wait for the next invoice. */
  pendingLines: InvoiceLine[];
  expiresAt: number | null;
}

export type InvoiceLine = Pick<
  PaidLine,
  'kind' | 'offer' | 'interval' | 'quantity' | 'amountMinor' | 'start' | 'end'
>;

export interface Invoice {
  id: string;
  subscription: Subscription;
  lines: InvoiceLine[];
  status: 'draft' | 'open' | 'paid' | 'void' | 'uncollectible';
  /** When Stripe tries to take the money; null = not by itself. */
  payAt: number | null;
  attempts: number;
  /** What its payment makes true: a pending change, a resumption. */
  onPaid?: () => void;
}

export interface Money {
  id: string;
  money: PaymentMoney;
  /** Payment refunds under way that may still fail. */
  refunds: number[];
  isDisputed: boolean;
}

export function totalOf({ lines: all }: Pick<Invoice, 'lines'>): number {
  return all.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
}

export function packLine(
  id: string,
  quantity: number,
  amountMinor: number,
  paidAt: Date,
): Omit<PaidLine, 'money'> {
  return {
    key: `pack:${id}:li_0`,
    kind: 'pack',
    offer: PACK.offer,
    note: null,
    paymentId: id,
    lineId: `${id}_li_0`,
    subscriptionId: null,
    itemId: null,
    interval: null,
    quantity,
    amountMinor,
    currency: 'usd',
    start: paidAt,
    end: paidAt,
    paidAt,
  };
}

export function newState(id: string, itemId: string, start: Date): SubscriptionState {
  return {
    id,
    itemId,
    customerId: 'cus_0001',
    status: 'incomplete',
    plan: null,
    priceId: '',
    lookupKey: null,
    interval: 'month',
    quantity: 1,
    currentPeriodStart: start,
    currentPeriodEnd: start,
    trialEnd: null,
    cancelAt: null,
    canceledAt: null,
    endedAt: null,
    startedAt: start,
    latestInvoiceId: null,
  };
}
