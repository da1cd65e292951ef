// Which allowances paid lines buy, read off the lines alone.
import { describe, expect, test } from 'vitest';
import { clawTarget, type LineKind, type PaidLine } from '../../src/domain/paid-lines.ts';
import { addDays, addMonths } from '../../src/domain/period.ts';
import { DEFAULT_CATALOGUE } from '../../src/domain/plans.ts';
import { landingsOf } from '../../src/domain/windows.ts';

const JANUARY = new Date('2027-01-31T12:00:00.000Z');
const day = (days: number): Date => addDays(JANUARY, days);

interface Bought {
  at: Date;
  until: Date;
  interval?: 'month' | 'year';
  kind?: LineKind;
  quantity?: number;
  amountMinor?: number;
}

let lines = 0;
/** One invoice; with `credit` money of an earlier line is given back on it. */
function invoice(bought: Bought, { credit = false } = {}): PaidLine[] {
  lines += 1;
  const line: PaidLine = {
    key: `inv:in_${lines}:il_1`,
    kind: bought.kind ?? 'full',
    paymentId: `in_${lines}`,
    lineId: `il_${lines}`,
    subscriptionId: 'sub_1',
    itemId: 'si_1',
    offer: 'pro',
    interval: bought.interval ?? 'month',
    quantity: bought.quantity ?? 1,
    amountMinor: bought.amountMinor ?? 2000,
    currency: 'usd',
    start: bought.at,
    end: bought.until,
    paidAt: bought.at,
    note: null,
    money: { paidMinor: 2000, refundedMinor: 0, disputedMinor: 0, creditedMinor: 0 },
  };
  const back: PaidLine = {
    ...line,
    key: `${line.key}b`,
    lineId: `${line.lineId}b`,
    kind: 'credit',
    amountMinor: -1,
  };
  return credit ? [line, back] : [line];
}

const month = (at: Date, more: Partial<Bought> = {}) => invoice({ at, until: addMonths(at, 1), ...more });
const year = (at: Date, more: Partial<Bought> = {}, credit = false) =>
  invoice({ at, until: addMonths(at, 12), interval: 'year', amountMinor: 20_000, ...more }, { credit });

const given = (all: PaidLine[]) =>
  landingsOf(DEFAULT_CATALOGUE, all).map(({ window, tokens }) => [
    window.start.toISOString().slice(0, 10),
    tokens / 2000,
  ]);
const sum = (all: PaidLine[]): number =>
  landingsOf(DEFAULT_CATALOGUE, all).reduce((total, { tokens }) => total + tokens / 2000, 0);

describe('a year', () => {
  test('lands month by month, on the last day of short ones, and costs what it cost', () => {
    const landings = landingsOf(DEFAULT_CATALOGUE, year(JANUARY));
    expect(landings.map(({ window }) => window.start.toISOString().slice(5, 10))).toEqual([
      '01-31',
      '02-28',
      '03-31',
      '04-30',
      '05-31',
      '06-30',
      '07-31',
      '08-31',
      '09-30',
      '10-31',
      '11-30',
      '12-31',
    ]);
    expect(landings.reduce((total, { costBasisMinor }) => total + costBasisMinor, 0)).toBe(20_000);
  });

  test('with more seats from the middle of a month: that month is filled up, the later ones are all at the new number', () => {
    const more = invoice(
      { at: day(40), until: addMonths(JANUARY, 12), interval: 'year', kind: 'delta', quantity: 3 },
      { credit: true },
    );
    expect(given([...year(JANUARY), ...more]).slice(0, 5)).toEqual([
      ['2027-01-31', 100],
      ['2027-02-28', 100],
      ['2027-03-12', 200],
      ['2027-03-31', 300],
      ['2027-04-30', 300],
    ]);
  });

  test('made of a month: the running month stays, the next ones follow it', () => {
    const changed = year(day(10), {}, true);
    expect(given([...month(JANUARY), ...changed]).slice(0, 4)).toEqual([
      ['2027-01-31', 100],
      ['2027-02-28', 100],
      ['2027-04-10', 100],
      ['2027-05-10', 100],
    ]);
  });
});

describe('a change', () => {
  test('between month and year, there and back ten times in a day, gives no more than the month had', () => {
    let all = month(JANUARY);
    for (let flip = 0; flip < 10; flip++) {
      const at = new Date(JANUARY.getTime() + (flip + 1) * 3_600_000);
      all = [
        ...all,
        ...(flip % 2 === 0 ? year(at, {}, true) : invoice({ at, until: addMonths(at, 1) }, { credit: true })),
      ];
    }
    const soon = landingsOf(DEFAULT_CATALOGUE, all).filter(({ window }) => window.start < day(27));
    expect(soon.reduce((total, { tokens }) => total + tokens / 2000, 0)).toBe(100);
  });

  test('of the anchor without money back is a month of its own', () => {
    expect(sum([...month(JANUARY), ...month(day(10))])).toBe(200);
  });

  test('at the end of a trial is paid for in full', () => {
    const trial = invoice({ at: JANUARY, until: day(14), kind: 'trial', amountMinor: 0 });
    const paid = invoice({ at: day(7), until: addMonths(day(7), 1) }, { credit: true });
    expect(sum([...trial, ...paid])).toBe(200);
  });

  test('to more seats, back and again, fills the month up once', () => {
    const seats = (at: Date, quantity: number) =>
      invoice({ at, until: addMonths(JANUARY, 1), kind: 'delta', quantity }, { credit: true });
    expect(sum([...month(JANUARY), ...seats(day(3), 3), ...seats(day(5), 2), ...seats(day(7), 3)])).toBe(300);
  });
});

test('the order in which lines are listed does not matter', () => {
  const all = [...month(JANUARY), ...year(day(10), {}, true), ...month(day(400))];
  expect(given([...all].reverse())).toEqual(given(all));
});

test('of two lines for one window the second gives nothing', () => {
  expect(sum([...month(JANUARY), ...month(JANUARY)])).toBe(100);
});

test.each([
  [0, 0, 0, 0],
  [2000, 0, 0, 100_000],
  [1, 0, 0, 50],
  [1500, 1500, 0, 100_000],
  [500, 0, 250, 37_500],
])(
  'refunded %i, disputed %i, credited %i of 2000 takes %i of 100,000',
  (refunded, disputed, credited, tokens) => {
    const money = {
      paidMinor: 2000,
      refundedMinor: refunded,
      disputedMinor: disputed,
      creditedMinor: credited,
    };
    expect(clawTarget({ money }, 100_000)).toBe(tokens);
  },
);

test('a change that is paid after a later one comes after it, and what has landed stays as it was', () => {
  const bought = month(JANUARY);
  const end = addMonths(JANUARY, 1);
  const change = (at: Date, paidAt: Date, quantity: number): PaidLine[] =>
    invoice({ at, until: end, kind: 'delta', quantity }).map((line) => ({ ...line, paidAt }));
  const paidLate = change(day(5), day(20), 3);
  const later = change(day(10), day(10), 5);
  const before = landingsOf(DEFAULT_CATALOGUE, [...bought, ...later]);
  expect(landingsOf(DEFAULT_CATALOGUE, [...bought, ...paidLate, ...later])).toEqual(before);
});
