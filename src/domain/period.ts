/** Half-open `[start, end)`, UTC. */
export interface Period {
  start: Date;
  end: Date;
}

export const DAY_IN_MS = 86_400_000;

/**
 * Times are compared as numbers: `<` asks a Date for its primitive value first, which takes forty times as long, and
 * the rules compare little else.
 */
export function isBefore(a: Date, b: Date): boolean {
  return a.getTime() < b.getTime();
}

/** Whether `at` is `now` or was before. */
export function hasCome(at: Date, now: Date): boolean {
  return at.getTime() <= now.getTime();
}

export function isSameTime(a: Date | null | undefined, b: Date | null | undefined): boolean {
  return a?.getTime() === b?.getTime();
}

/**
 * `anchor` plus `months`, clamped to the last day of a short month. Always counted from the anchor: stepping from the
 * previous end would drift from the 31st to the 28th and stay there. Plain UTC arithmetic: with a calendar library the
 * convergence histories (test/convergence) spent most of their time here.
 */
export function addMonths(anchor: Date, months: number): Date {
  const [year, month, day] = [anchor.getUTCFullYear(), anchor.getUTCMonth() + months, anchor.getUTCDate()];
  const timeOfDay = anchor.getTime() - Date.UTC(year, anchor.getUTCMonth(), day);
  const first = Date.UTC(year, month, 1);
  const days = day <= 28 ? day : Math.min(day, (Date.UTC(year, month + 1, 1) - first) / DAY_IN_MS);
  return new Date(first + (days - 1) * DAY_IN_MS + timeOfDay);
}

export function addDays(from: Date, days: number): Date {
  return new Date(from.getTime() + days * DAY_IN_MS);
}

/** The n-th month counted from `anchor` (0 starts at the anchor). */
export function nthPeriod(anchor: Date, n: number): Period {
  return { start: addMonths(anchor, n), end: addMonths(anchor, n + 1) };
}

/** Which month counted from `anchor` contains `at`. Before the anchor it is the first one. */
export function periodIndexAt(anchor: Date, at: Date): number {
  if (isBefore(at, anchor)) return 0;
  const months =
    (at.getUTCFullYear() - anchor.getUTCFullYear()) * 12 + at.getUTCMonth() - anchor.getUTCMonth();
  return hasCome(addMonths(anchor, months), at) ? months : months - 1;
}

export function periodAt(anchor: Date, at: Date): Period {
  return nthPeriod(anchor, periodIndexAt(anchor, at));
}
