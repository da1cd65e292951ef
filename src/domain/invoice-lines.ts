/** What each line of a paid invoice buys: the classifier of docs/credits.md (stripe.md B2, B5). Pure. */
import type { Period } from './period.ts';
import { type Catalogue, packOfPrice, planOfPrice } from './plans.ts';
import type { PaidTerm } from './subscription.ts';

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
  lines: InvoiceLine[];
}

export type LineMeaning =
  /** The allowance of the plan for the line's period. */
  | { kind: 'full' | 'trial' | 'delta'; term: PaidTerm }
  /** Money given back inside a plan change: takes nothing. */
  | { kind: 'credit' }
  /** A pack on an invoice: packs are granted by their Checkout session only, or they would be granted twice. */
  | { kind: 'pack' }
  | { kind: 'unknown_price' }
  | { kind: 'none'; why: string };

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
  invoice: PaidInvoice,
  line: InvoiceLine,
  trialEnd: Date | null,
): LineMeaning {
  if (line.amount < 0) return { kind: 'credit' };
  if (invoice.isRevision) return { kind: 'none', why: 'a revision of an earlier invoice' };
  const lookupKey = line.price?.lookupKey ?? null;
  if (packOfPrice(catalogue, lookupKey)) return { kind: 'pack' };
  // Ad-hoc invoice items carry a price that Stripe made up: only the catalogue says what is ours.
  const bought = planOfPrice(catalogue, lookupKey);
  if (!bought) return { kind: 'unknown_price' };
  if (line.subscriptionId === null) return { kind: 'none', why: 'no line of a subscription' };
  if (invoice.billingReason === null || !BUYS.has(invoice.billingReason)) {
    return { kind: 'none', why: `billing reason ${invoice.billingReason}` };
  }
  if (line.quantity < 1) return { kind: 'none', why: 'quantity 0' };
  const term: PaidTerm = {
    invoiceId: invoice.id,
    lineId: line.id,
    itemId: line.subscriptionItemId,
    isTopUp: line.isProration,
    plan: bought.plan,
    interval: line.price?.interval ?? 'month',
    quantity: line.quantity,
    amountMinor: line.amount - line.discount,
    currency: line.currency,
    ...line.period,
  };
  const isFree = line.amount === 0 && line.subtotal === 0;
  if (isFree && trialEnd !== null && term.end <= trialEnd) return { kind: 'trial', term };
  if (!line.isProration) return { kind: 'full', term };
  return line.amount > 0 ? { kind: 'delta', term } : { kind: 'none', why: 'a proration that costs nothing' };
}
