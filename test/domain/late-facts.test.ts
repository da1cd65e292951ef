// What was heard of late ends as what was heard of at once: the cases that the convergence histories found.
import { expect, test } from 'vitest';
import { CATALOGUE } from '../../sim/catalogue.ts';
import type { Account } from '../../src/domain/account.ts';
import type { Facts } from '../../src/domain/agreements.ts';
import { enterFreePlan } from '../../src/domain/allowance.ts';
import type { PaidLine } from '../../src/domain/paid-lines.ts';
import { addDays, addMonths } from '../../src/domain/period.ts';
import { rollWith, settle } from '../../src/domain/settle.ts';
import type { SubscriptionState } from '../../src/domain/subscription.ts';
import { landingsOf } from '../../src/domain/windows.ts';
import { paidLine } from '../support/paid-line.ts';
import { checkInvariants, emptyAccount, START } from './ledger.ts';

const day = (days: number): Date => addDays(START, days);

function subscription(
  id: string,
  startedAt: Date,
  changes: Partial<SubscriptionState> = {},
): SubscriptionState {
  return {
    id,
    itemId: `si_${id}`,
    customerId: 'cus_1',
    status: 'active',
    plan: 'pro',
    priceId: 'price_1',
    lookupKey: 'pro_monthly',
    interval: 'month',
    quantity: 1,
    currentPeriodStart: startedAt,
    currentPeriodEnd: addMonths(startedAt, 1),
    trialEnd: null,
    cancelAt: null,
    canceledAt: null,
    endedAt: null,
    startedAt,
    latestInvoiceId: null,
    ...changes,
  };
}

const line = (id: string, of: string, start: Date, end: Date, changes: Partial<PaidLine> = {}): PaidLine =>
  paidLine(id, of, { start, end }, changes);

function freeUser(): Account {
  const account = emptyAccount(CATALOGUE);
  Object.assign(account.user, { createdAt: START, stripeCustomerId: 'cus_1' });
  enterFreePlan(account);
  return account;
}

/** As a sync at `at`: what is due first, then the facts. */
function hear(account: Account, at: Date, facts: Facts): void {
  account.now = at;
  rollWith(account, facts);
  settle(account, facts);
  rollWith(account, facts);
  checkInvariants(account);
}

const credits = (account: Account): number => account.user.availableTokens / 2_000;
const given = (lines: PaidLine[]) =>
  landingsOf(CATALOGUE, lines).map(({ key, tokens }) => [key, tokens / 2_000] as const);

test('what a line gives does not depend on what is paid later, not even for the same month', () => {
  const end = addMonths(START, 1);
  // The term was left open; three seats were paid for inside it first.
  const seats = line('2', 'sub_1', day(5), end, { kind: 'delta', quantity: 3 });
  const term = line('1', 'sub_1', START, end, { paidAt: day(9) });
  expect(given([seats])).toEqual([[seats.key, 300]]);
  expect(given([seats, term])).toEqual([[seats.key, 300]]);
  const fewer = line('3', 'sub_1', day(3), end, { kind: 'delta', quantity: 2, paidAt: day(10) });
  expect(given([seats, term, fewer])).toEqual([[seats.key, 300]]);
});

test('a change after a trial whose first month is unpaid does not add to that month when it is paid', () => {
  const trial = line('1', 'sub_1', START, day(11), { kind: 'trial' });
  const end = addMonths(day(5), 1);
  const less = line('2', 'sub_1', day(8), end, { kind: 'delta' });
  const month = line('3', 'sub_1', day(5), end, { paidAt: day(12) });
  expect(given([trial, less, month])).toEqual([
    [trial.key, 100],
    [less.key, 100],
  ]);
});

test('a year that is given back in the second in which it was bought leaves no months behind', () => {
  const months = line('1', 'sub_1', START, addMonths(START, 1));
  const year = line('2', 'sub_1', day(3), addMonths(day(3), 12), { interval: 'year' });
  const back = line('3', 'sub_1', day(3), addMonths(day(3), 1));
  const credits = ['2', '3'].map((id) =>
    line(id, 'sub_1', day(3), day(3), { key: `inv:in_${id}:il_0`, lineId: 'il_0', kind: 'credit' }),
  );
  const next = landingsOf(CATALOGUE, [months, year, back, ...credits]).map(({ window }) => window.end);
  expect(next.at(-1)).toEqual(addMonths(day(3), 1));
});

test('of two changes of one second the window is filled up once, whichever is heard of first', () => {
  const end = addMonths(START, 1);
  const term = line('1', 'sub_1', START, end);
  const change = { kind: 'delta', quantity: 3 } as const;
  const first = line('2', 'sub_1', day(5), end, change);
  const second = line('0', 'sub_1', day(5), end, change);
  const account = freeUser();
  const subscriptions = [subscription('sub_1', START, { quantity: 3 })];
  hear(account, day(5), { subscriptions, lines: [term, first] });
  hear(account, day(6), { subscriptions, lines: [term, first, second] });
  expect(credits(account)).toBe(300);
});

test('a month of a year that landed before its downgrade was heard of makes way for the smaller one', () => {
  const end = addMonths(START, 12);
  const year = line('1', 'sub_1', START, end, { offer: 'team', interval: 'year' });
  const less = line('2', 'sub_1', day(20), end, { kind: 'delta', interval: 'year' });
  const before: Facts = {
    subscriptions: [subscription('sub_1', START, { plan: 'team', interval: 'year' })],
    lines: [year],
  };
  const after: Facts = {
    subscriptions: [subscription('sub_1', START, { interval: 'year' })],
    lines: [year, less],
  };
  const punctual = freeUser();
  hear(punctual, START, before);
  hear(punctual, day(20), after);
  hear(punctual, day(40), after);
  const late = freeUser();
  hear(late, START, before);
  hear(late, day(40), before);
  expect(credits(late)).toBe(300);
  hear(late, day(41), after);
  expect([credits(punctual), credits(late)]).toEqual([100, 100]);
});

// Found by seed 49089.
test('a month of a year that landed after the renewal that had taken it over does not end that renewal', () => {
  const year = line('1', 'sub_1', START, addMonths(START, 12), { interval: 'year' });
  const month = line('2', 'sub_1', day(20), addMonths(day(20), 1));
  const credit = line('2', 'sub_1', day(20), addMonths(START, 12), { key: 'inv:in_2:il_2', kind: 'credit' });
  const renewal = line('3', 'sub_1', addMonths(day(20), 1), addMonths(day(20), 2));
  const annual = subscription('sub_1', START, { interval: 'year' });
  const monthly = subscription('sub_1', START);
  const late = freeUser();
  for (const at of [0, 35, 65]) hear(late, day(at), { subscriptions: [annual], lines: [year] });
  hear(late, day(66), { subscriptions: [monthly], lines: [year, month, credit, renewal] });
  expect(credits(late)).toBe(100);
});

test('credits that wait for another subscription come back when that one ends, however late somebody looks', () => {
  const paused = subscription('sub_1', START, { status: 'paused' });
  const ending = subscription('sub_2', day(10), { cancelAt: day(35) });
  const facts: Facts = {
    subscriptions: [paused, ending],
    lines: [
      line('1', 'sub_1', START, addMonths(START, 1)),
      line('2', 'sub_2', day(10), day(40), { quantity: 2 }),
    ],
  };
  const look = (...days: number[]): Account => {
    const account = freeUser();
    for (const at of [10, ...days]) hear(account, day(at), facts);
    return account;
  };
  expect(credits(look(36))).toBe(100);
  expect(look(36, 37, 39, 45).entries.length).toBe(look(45).entries.length);
  expect([credits(look(36, 45)), credits(look(45))]).toEqual([5, 5]);
});

test('a year that was exchanged for months does not keep the free allowance away after them', () => {
  const year = line('1', 'sub_1', START, addMonths(START, 12), { interval: 'year' });
  const month = line('2', 'sub_1', day(10), addMonths(day(10), 1));
  const credit = line('2', 'sub_1', day(10), addMonths(START, 12), { key: 'inv:in_2:il_2', kind: 'credit' });
  const facts: Facts = {
    subscriptions: [subscription('sub_1', START, { status: 'paused' })],
    lines: [year, month, credit],
  };
  const account = freeUser();
  hear(account, day(10), facts);
  hear(account, day(100), facts);
  expect(credits(account)).toBe(5);
});

test('packs burn in the order in which they were paid for', () => {
  const pack = (id: string, paidAt: Date): PaidLine =>
    line(id, 'none', paidAt, paidAt, {
      key: `pack:${id}`,
      kind: 'pack',
      offer: 'pack_50',
      subscriptionId: null,
    });
  const [first, second] = [pack('cs_1', day(1)), pack('cs_2', day(2))];
  const account = emptyAccount(CATALOGUE);
  hear(account, day(3), { subscriptions: [], lines: [second] });
  hear(account, day(4), { subscriptions: [], lines: [second, first] });
  expect(
    account
      .openGrants()
      .map(({ key }) => key)
      .filter((key) => key.startsWith('pack')),
  ).toEqual([first.key, second.key]);
});

test('a month that landed before its change was heard of does not set the clock for the months after', () => {
  const year = line('1', 'sub_1', START, addMonths(START, 12), { interval: 'year' });
  const month = line('2', 'sub_1', day(45), addMonths(day(45), 1));
  const credit = line('2', 'sub_1', day(45), year.end, { key: 'inv:in_2:il_2', kind: 'credit' });
  const subscriptions = [subscription('sub_1', START, { interval: 'year' })];
  const before: Facts = { subscriptions, lines: [year] };
  const after: Facts = { subscriptions, lines: [year, month, credit] };
  const punctual = freeUser();
  for (const at of [0, 40]) hear(punctual, day(at), before);
  for (const at of [45, 66]) hear(punctual, day(at), after);
  const late = freeUser();
  for (const at of [0, 40, 65]) hear(late, day(at), before);
  hear(late, day(66), after);
  expect([late.user.periodEnd, late.user.nextDueAt]).toEqual([
    punctual.user.periodEnd,
    punctual.user.nextDueAt,
  ]);
  // Of the month that was bought half lies beyond the running one.
  expect([credits(punctual), credits(late)]).toEqual([50, 50]);
});

test('a second trial that gave nothing keeps no free allowance away once it is unpaid', () => {
  const ended = { status: 'canceled', trialEnd: day(7), endedAt: day(1) };
  const first = subscription('sub_1', START, ended);
  const second = { trialEnd: day(28), currentPeriodEnd: day(28) };
  const trials = [
    line('1', 'sub_1', START, day(7), { kind: 'trial', amountMinor: 0 }),
    line('2', 'sub_2', day(14), day(28), { kind: 'trial', amountMinor: 0 }),
  ];
  const account = freeUser();
  const told = (status: string): Facts => ({
    subscriptions: [first, subscription('sub_2', day(14), { ...second, status })],
    lines: trials,
  });
  hear(account, day(14), told('trialing'));
  expect(credits(account)).toBe(0);
  // The month of the free plan has begun on day 31; the trial's grace runs until day 35.
  hear(account, day(32), told('unpaid'));
  expect(credits(account)).toBe(5);
});

test('what was spent of a month before its change was heard of is not given again by the line that took it over', () => {
  const year = line('1', 'sub_1', START, addMonths(START, 12), { interval: 'year' });
  const month = line('2', 'sub_1', day(45), addMonths(day(45), 1));
  const credit = line('2', 'sub_1', day(45), year.end, { key: 'inv:in_2:il_2', kind: 'credit' });
  const subscriptions = [subscription('sub_1', START, { interval: 'year' })];
  const late = freeUser();
  for (const at of [0, 40, 65]) hear(late, day(at), { subscriptions, lines: [year] });
  late.consume(30 * 2_000, { key: 'spent' });
  hear(late, day(66), { subscriptions, lines: [year, month, credit] });
  // Of the month that was bought half, 50 credits, lies beyond the running one; who hears at once spends 30 of those.
  expect(credits(late)).toBe(20);
});

test('a window that was paid twice is told of until the money of the second line has gone back', () => {
  const facts = (money: Partial<PaidLine['money']>): Facts => ({
    subscriptions: [subscription('a', START)],
    lines: [
      line('1', 'a', START, day(31)),
      line('2', 'a', START, day(31), {
        lineId: 'il_2',
        paidAt: day(1),
        money: { paidMinor: 2_000, refundedMinor: 0, disputedMinor: 0, creditedMinor: 0, ...money },
      }),
    ],
  });
  const account = freeUser();
  hear(account, day(2), facts({}));
  expect(credits(account)).toBe(100);
  const told = (of: Facts): string[] => settle(account, of).paidTwice.map(({ key }) => key);
  expect(told(facts({}))).toEqual(['inv:in_2:il_1']);
  expect(told(facts({ refundedMinor: 1_999 }))).toEqual(['inv:in_2:il_1']);
  expect(told(facts({ refundedMinor: 1_000, creditedMinor: 1_000 }))).toEqual([]);
  expect(credits(account)).toBe(100);
});

test('a year that has ended gives no month after its end, however late somebody looks', () => {
  const end = addMonths(START, 12);
  const ended = subscription('a', START, {
    interval: 'year',
    currentPeriodEnd: end,
    status: 'canceled',
    endedAt: day(40),
  });
  const account = freeUser();
  hear(account, day(200), {
    subscriptions: [ended],
    lines: [line('1', 'a', START, end, { interval: 'year' })],
  });
  const bought = account.grantsThat(({ invoiceId }) => invoiceId !== null).map(({ key }) => key);
  expect(bought).toEqual(['inv:in_1:il_1', 'inv:in_1:il_1:m2']);
});
