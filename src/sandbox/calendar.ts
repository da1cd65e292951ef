export type Interval = 'day' | 'week' | 'month' | 'year';

export const HOUR = 3600;
export const DAY = 24 * HOUR;

const MONTHS: Partial<Record<Interval, number>> = { month: 1, year: 12 };
const DAYS: Partial<Record<Interval, number>> = { day: 1, week: 7 };

/**
 * The start of cycle `index` of an anchor. Months are counted from the anchor itself, so that 31 January
 * gives 28 February and then 31 March again (https://docs.stripe.com/billing/subscriptions/billing-cycle).
 */
export function cycleStart(anchor: number, interval: string, intervalCount: number, index: number): number {
  const days = DAYS[interval as Interval];
  if (days !== undefined) return anchor + days * DAY * intervalCount * index;
  const months = (MONTHS[interval as Interval] ?? 1) * intervalCount * index;
  const from = new Date(anchor * 1000);
  const month = from.getUTCMonth() + months;
  const lastDay = new Date(Date.UTC(from.getUTCFullYear(), month + 1, 0)).getUTCDate();
  const start = new Date(from);
  start.setUTCDate(1);
  start.setUTCMonth(month);
  start.setUTCDate(Math.min(from.getUTCDate(), lastDay));
  return Math.floor(start.getTime() / 1000);
}

/** The cycle of the anchor that contains `at`. */
export function cycleAt(
  anchor: number,
  interval: string,
  intervalCount: number,
  at: number,
): { start: number; end: number } {
  const days = DAYS[interval as Interval] ?? 30 * (MONTHS[interval as Interval] ?? 1);
  let index = Math.floor((at - anchor) / (days * DAY * intervalCount));
  while (cycleStart(anchor, interval, intervalCount, index) > at) index -= 1;
  while (cycleStart(anchor, interval, intervalCount, index + 1) <= at) index += 1;
  return {
    start: cycleStart(anchor, interval, intervalCount, index),
    end: cycleStart(anchor, interval, intervalCount, index + 1),
  };
}
