/** What each line of a paid invoice buys: the classifier of docs/credits.md (stripe.md B2, B5). Pure. */
import type { LineKind, PaymentMoney } from './paid-lines.ts';
import type { Period } from './period.ts';
import { type Catalogue, packOfPrice, planOfPrice } from './plans.ts';

/** One line of an invoice, as far as it is read. Money in minor units. */
export interface InvoiceLine {
  id: string;
  /** Before discounts; negative where it gives money back. */
  amount: number;
  subtotal: number;
  /** Sum of the discounts on this line. */
  discount: number;
  currency: string;
  quantity: number;
  period: Period;
  /** Null for a line that is no subscription item's (a manual invoice item). */
  subscriptionId: string | null;
  subscriptionItemId: string | null;
  isProration: boolean;
  price: LinePrice | null;
}

/** A price as the catalogue knows it: by lookup key, never by id. */
export interface LinePrice {
  id: string;
  lookupKey: string | null;
  /** `month`, `year` …; null for a one-time price. */
  interval: string | null;
}

export interface PaidInvoice {
  id: string;
  /** Why Stripe made it; an enum that may grow. */
  billingReason: string | null;
  /** Made by revising an earlier invoice: its lines were paid for before. */
  isRevision: boolean;
  paidAt: Date;
  money: PaymentMoney;
  lines: InvoiceLine[];
}

/** What a line is, and what it bought if it bought anything. */
export interface LineMeaning {
  kind: LineKind;
  /** The plan or the pack; null where the price is not in the catalogue. */
  offer: string | null;
  /** Why it gives no tokens; null where it does. */
  note: string | null;
}

/** The note of a line whose price is in no catalogue: somebody should look. */
export const UNKNOWN_PRICE = 'its price is not in the catalogue';

/** Reasons for which a subscription line is a purchase of ours; the others bill usage or were made by hand. */
const BUYS = new Set([
  'subscription',
  'subscription_create',
  'subscription_cycle',
  'subscription_update',
  'quote_accept',
]);
const BUYS_NOTHING = new Set([
  'subscription_threshold',
  'automatic_pending_invoice_item_invoice',
  'manual',
  'upcoming',
]);

export function isKnownBillingReason(reason: string | null): boolean {
  return reason !== null && (BUYS.has(reason) || BUYS_NOTHING.has(reason));
}

/**
 * @param trialEnd of the line's subscription
 * @see https://docs.stripe.com/api/invoice-line-item/object
 */
export function classifyLine(
  catalogue: Catalogue,
  invoice: Pick<PaidInvoice, 'billingReason' | 'isRevision'>,
  line: InvoiceLine,
  trialEnd: Date | null,
): LineMeaning {
  const lookupKey = line.price?.lookupKey ?? null;
  const pack = packOfPrice(catalogue, lookupKey)?.pack ?? null;
  const offer = planOfPrice(catalogue, lookupKey)?.plan ?? pack;
  const none = (note: string): LineMeaning => ({ kind: 'none', offer, note });
  if (line.amount < 0) return { kind: 'credit', offer, note: 'money given back inside a plan change' };
  if (invoice.isRevision) return none('a revision of an earlier invoice, whose lines were paid for before');
  if (pack !== null) return none('packs are granted by their Checkout session only');
  // Ad-hoc invoice items carry a price that Stripe made up: only the catalogue says what is ours.
  if (offer === null) return none(UNKNOWN_PRICE);
  if (line.subscriptionId === null) return none('it is no line of a subscription');
  if (invoice.billingReason === null || !BUYS.has(invoice.billingReason)) {
    return none(`billing reason ${invoice.billingReason}`);
  }
  if (line.quantity < 1) return none('quantity 0');
  // Not by the end of the trial: that moves when a trial is cut short or made longer.
  const isFree = line.amount === 0 && line.subtotal === 0;
  if (isFree && trialEnd !== null && line.period.start < trialEnd)
    return { kind: 'trial', offer, note: null };
  if (!line.isProration) return { kind: 'full', offer, note: null };
  return line.amount > 0 ? { kind: 'delta', offer, note: null } : none('a proration that costs nothing');
}
