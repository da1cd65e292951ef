/** Which way a change of plan goes, and so when it takes effect unless the caller says. Pure. */

/** What a subscription is to, or is to be to. */
export interface PlanOffer {
  plan: string;
  interval: 'month' | 'year';
  quantity: number;
  /** Of one unit. */
  creditsPerPeriod: number;
  /** Of one unit for one interval; null where the price has no single amount (tiers). */
  amountMinor: number | null;
}

/**
 * An upgrade takes effect now, everything else at the period's end: longer, or dearer for the same time. What gives
 * fewer credits is never one; what is shorter neither, as in the Portal (its condition `shortening_interval`).
 */
export function isUpgrade(from: PlanOffer, to: PlanOffer): boolean {
  const had = from.creditsPerPeriod * from.quantity;
  const gets = to.creditsPerPeriod * to.quantity;
  if (gets < had) return false;
  if (from.interval !== to.interval) return to.interval === 'year';
  if (from.amountMinor === null || to.amountMinor === null) return gets > had;
  const paid = from.amountMinor * from.quantity;
  const pays = to.amountMinor * to.quantity;
  return pays === paid ? gets > had : pays > paid;
}
