import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addMonths, nthPeriod, periodAt, periodIndexAt } from '../../src/domain/period.ts';

const YEAR_IN_MS = 365.25 * 86_400_000;
const anchors = fc.date({ min: new Date('2023-01-01'), max: new Date('2028-12-31'), noInvalidDate: true });

/** Days of a month by the calendar's own rule, to compare with what the library says. */
const daysIn = (year: number, month: number): number =>
  [
    31,
    (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28,
    31,
    30,
    31,
    30,
    31,
    31,
    30,
    31,
    30,
    31,
  ][month]!;

describe('periods', () => {
  it('step from the 31st to the last day of short months and back to the 31st', () => {
    const anchor = new Date('2026-01-31T10:00:00.000Z');
    expect([0, 1, 2, 3, 12, 13, 25].map((n) => addMonths(anchor, n).toISOString().slice(0, 10))).toEqual([
      '2026-01-31',
      '2026-02-28',
      '2026-03-31',
      '2026-04-30',
      '2027-01-31',
      '2027-02-28',
      '2028-02-29',
    ]);
  });

  it('keep the anchor day and time of day over five years, clamped to the month, for any anchor', () => {
    fc.assert(
      fc.property(anchors, fc.integer({ min: 0, max: 60 }), (anchor, n) => {
        const start = addMonths(anchor, n);
        const months = anchor.getUTCFullYear() * 12 + anchor.getUTCMonth() + n;
        const [year, month] = [Math.floor(months / 12), months % 12];
        expect([start.getUTCFullYear(), start.getUTCMonth()]).toEqual([year, month]);
        expect(start.getUTCDate()).toBe(Math.min(anchor.getUTCDate(), daysIn(year, month)));
        expect(start.toISOString().slice(10)).toBe(anchor.toISOString().slice(10));
      }),
      { numRuns: 5_000, verbose: true },
    );
  });

  it('tile the time line: every instant is in exactly one, half-open', () => {
    fc.assert(
      fc.property(anchors, fc.double({ min: 0, max: 5, noNaN: true }), (anchor, years) => {
        const at = new Date(anchor.getTime() + Math.floor(years * YEAR_IN_MS));
        const index = periodIndexAt(anchor, at);
        const { start, end } = periodAt(anchor, at);
        expect(start <= at && at < end).toBe(true);
        expect(nthPeriod(anchor, index + 1).start).toEqual(end);
        expect(periodIndexAt(anchor, end)).toBe(index + 1);
        expect(periodIndexAt(anchor, new Date(end.getTime() - 1))).toBe(index);
      }),
      { numRuns: 5_000, verbose: true },
    );
  });
});
