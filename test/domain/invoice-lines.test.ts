// What a line of a paid invoice is: every billing reason of Stripe (stripe.md B2) with every kind of line (B5), also
// those that the sandbox cannot make.
import { describe, expect, test } from 'vitest';
import { classifyLine, type InvoiceLine, isKnownBillingReason } from '../../src/domain/invoice-lines.ts';
import type { LineKind } from '../../src/domain/paid-lines.ts';
import { DEFAULT_CATALOGUE } from '../../src/domain/plans.ts';

const START = new Date('2027-01-10T00:00:00.000Z');
const END = new Date('2027-02-10T00:00:00.000Z');
const pro = { id: 'price_pro', lookupKey: 'pro_monthly', interval: 'month' };

const line = (changes: Partial<InvoiceLine> = {}): InvoiceLine => ({
  id: 'il_1',
  amount: 2000,
  subtotal: 2000,
  discount: 0,
  currency: 'usd',
  quantity: 1,
  period: { start: START, end: END },
  subscriptionId: 'sub_1',
  subscriptionItemId: 'si_1',
  isProration: false,
  price: pro,
  ...changes,
});

const BUY = [
  'subscription',
  'subscription_create',
  'subscription_cycle',
  'subscription_update',
  'quote_accept',
];
const BUY_NOTHING = [
  'subscription_threshold',
  'automatic_pending_invoice_item_invoice',
  'manual',
  'upcoming',
];
const UNKNOWN = ['subscription_gift', 'other', '', 'toString', '__proto__', null];

/** What each kind of line is in an invoice for a reason that buys, and in any other. */
const LINES: [string, Partial<InvoiceLine>, trialEnd: Date | null, LineKind, LineKind][] = [
  ['a period', {}, null, 'full', 'none'],
  ['three of it', { quantity: 3, amount: 6000, subtotal: 6000 }, null, 'full', 'none'],
  ['a period with a coupon of 100 %', { discount: 2000 }, null, 'full', 'none'],
  ['a free price without trial', { amount: 0, subtotal: 0 }, null, 'full', 'none'],
  ['a trial', { amount: 0, subtotal: 0 }, END, 'trial', 'none'],
  ['a trial that was cut short', { amount: 0, subtotal: 0 }, new Date(START.getTime() + 1), 'trial', 'none'],
  ['a free period after the trial', { amount: 0, subtotal: 0 }, START, 'full', 'none'],
  ['a paid period while a trial is announced', {}, END, 'full', 'none'],
  ['the new price of a change', { isProration: true, amount: 900, subtotal: 900 }, null, 'delta', 'none'],
  ['a change that costs nothing', { isProration: true, amount: 0, subtotal: 0 }, null, 'none', 'none'],
  [
    'the old price of a change',
    { isProration: true, amount: -900, subtotal: -900 },
    null,
    'credit',
    'credit',
  ],
  ['money given back by hand', { amount: -1, subtotal: -1, price: null }, null, 'credit', 'credit'],
  ['quantity 0', { quantity: 0, amount: 0, subtotal: 0 }, null, 'none', 'none'],
  ['no price', { price: null }, null, 'none', 'none'],
  ['a price without lookup key', { price: { ...pro, lookupKey: null } }, null, 'none', 'none'],
  ['a price of no catalogue', { price: { ...pro, lookupKey: 'gold_monthly' } }, null, 'none', 'none'],
  ['a pack', { price: { ...pro, lookupKey: 'pack_50', interval: null } }, null, 'none', 'none'],
  [
    'a plan’s price on a manual item',
    { subscriptionId: null, subscriptionItemId: null },
    null,
    'none',
    'none',
  ],
];

const kindOf = (
  reason: string | null,
  one: Partial<InvoiceLine>,
  trialEnd: Date | null,
  isRevision = false,
) => classifyLine(DEFAULT_CATALOGUE, { billingReason: reason, isRevision }, line(one), trialEnd);

describe.each(BUY)('for the reason %s', (reason) => {
  test.each(LINES)('%s is what it is', (_what, one, trialEnd, kind) => {
    const meaning = kindOf(reason, one, trialEnd);
    expect(meaning.kind).toBe(kind);
    // Whoever reads the books sees why a line gave nothing.
    expect(meaning.note === null).toBe(kind === 'full' || kind === 'trial' || kind === 'delta');
  });
});

describe.each([...BUY_NOTHING, ...UNKNOWN])('for the reason %s', (reason) => {
  test.each(LINES)('%s grants nothing', (_what, one, trialEnd, _kind, kind) => {
    expect(kindOf(reason, one, trialEnd).kind).toBe(kind);
  });
});

test('a reason that Stripe invents is known as unknown', () => {
  expect([...BUY, ...BUY_NOTHING].filter((reason) => !isKnownBillingReason(reason))).toEqual([]);
  expect(UNKNOWN.filter(isKnownBillingReason)).toEqual([]);
});

test.each(LINES)('on a revised invoice %s buys nothing again', (_what, one, trialEnd) => {
  expect(['none', 'credit']).toContain(kindOf('subscription_cycle', one, trialEnd, true).kind);
});

test('the plan is that of the price, whatever its id', () => {
  const annual = { id: 'price_other', lookupKey: 'pro_annual', interval: 'year' };
  expect(kindOf('subscription_cycle', { price: annual }, null)).toEqual({
    kind: 'full',
    offer: 'pro',
    note: null,
  });
});
