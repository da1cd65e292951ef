// The one statement that rolls free users: whom it takes, and that it writes what the rules would
// (test/lib/roll-users.test.ts compares random populations).
import { afterEach, beforeEach, expect, test } from 'vitest';
import { addMonths } from '../../src/domain/period.ts';
import { DEFAULT_CATALOGUE } from '../../src/domain/plans.ts';
import { withAccount } from '../../src/store/account.ts';
import { lockUsers } from '../../src/store/account-load.ts';
import { rollFreeUsers } from '../../src/store/roll-free.ts';
import { inTransaction } from '../../src/store/transaction.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { ALL_BORN_BY, live, type Past } from '../support/population.ts';
import { rowsOf } from '../support/rows.ts';

const PLAIN: Past = {
  bornAfterHours: 0,
  plan: 'free',
  planDays: 70,
  bonuses: [],
  hold: null,
  spentTokens: 2_000,
  hasDebt: false,
};

/** By name: those of whom there is nothing but the allowance. */
const TAKEN: Record<string, Past> = {
  plain: PLAIN,
  'who-has-spent-all': { ...PLAIN, spentTokens: 10_000 },
  'whose-bonus-is-used-up': { ...PLAIN, bonuses: [{ tokens: 10, days: null }], spentTokens: 10_010 },
};

const LEFT: Record<string, Past> = {
  'with-a-bonus': { ...PLAIN, bonuses: [{ tokens: 9_000, days: null }] },
  'with-a-hold': { ...PLAIN, hold: { tokens: 10, seconds: 86_400 } },
  'with-a-debt-of-the-past': { ...PLAIN, hasDebt: true },
  'of-a-plan-given-by-hand': { ...PLAIN, plan: 'enterprise' },
  subscribed: { ...PLAIN, plan: 'monthly' },
  canceled: { ...PLAIN, plan: 'canceled' },
};

const set = (columns: string): string => `update users set ${columns} where id = $1`;
const setGrant = (columns: string): string => `update credit_grants set ${columns} where user_id = $1`;

/** Plain ones but for one thing. */
const LEFT_BY_HAND: Record<string, string> = {
  'known-to-stripe': set("stripe_customer_id = 'cus_1'"),
  'with-a-subscription': set("current_subscription_id = 'sub_1'"),
  'with-access-that-ends': set("access_ends_at = '2099-01-01'"),
  'with-a-debt': set('debt_tokens = 1'),
  'with-held-tokens': set('held_tokens = 1'),
  'of-another-plan': set("subscription_tier = 'pro'"),
  'with-something-due-before': set("next_due_at = next_due_at - interval '1 day'"),
  'off-its-anchor': set("period_anchor = period_anchor + interval '1 hour'"),
  'who-had-the-allowance': set('free_allowance_start = period_end'),
  'whose-balance-is-another': set('available_tokens = available_tokens + 1'),
  'before-its-anchor': set("period_anchor = period_end + interval '1 month'"),
  'whose-grant-is-no-allowance': setGrant("source = 'bonus'"),
  'whose-grant-was-bought': setGrant("subscription_id = 'sub_1'"),
  'whose-grant-ends-later': setGrant("expires_at = expires_at + interval '1 day'"),
  'whose-grant-never-ends': setGrant('expires_at = null'),
  'whose-grant-is-held': setGrant('remaining_tokens = 0, held_tokens = 5'),
  'with-two-grants': `insert into credit_grants
      (bucket, id, user_id, key, source, amount_tokens, remaining_tokens, effective_at, closed_at, settled_debt_tokens, created_at)
    select bucket, 'gr_' || id, id, 'of-a-debt', 'bonus', 5, 0, created_at, created_at, 5, created_at from users where id = $1`,
  // What a metered plan holds beyond the balance holds no tokens.
  'with-a-hold-of-overage': `insert into holds (bucket, id, user_id, key, tokens, parts, status, expires_at, created_at)
    select bucket, 'hold_' || id, id, 'overage', 5, '[]', 'open', '2099-01-01', created_at from users where id = $1`,
};

const EVERYBODY = [TAKEN, LEFT, LEFT_BY_HAND].flatMap(Object.keys);

let library: Library;
beforeEach(async () => {
  library = await openLibrary();
  for (const [userId, past] of Object.entries({ ...TAKEN, ...LEFT })) await live(library, userId, past);
  for (const [userId, change] of Object.entries(LEFT_BY_HAND)) {
    await live(library, userId, PLAIN);
    await library.context.pool.query(change, [userId]);
  }
});
afterEach(() => library.close());

const roll = (now: Date, catalogue = DEFAULT_CATALOGUE): Promise<string[]> =>
  inTransaction(library.context.pool, async (tx) => {
    const users = await lockUsers(tx, null, EVERYBODY);
    const ids = users.map(({ id }) => id);
    return [...(await rollFreeUsers(tx, ids, { catalogue, now }))].sort();
  });

const inMonths = (months: number): Date => addMonths(ALL_BORN_BY, months);

test('only those are taken who are due and have nothing but their allowance, once', async () => {
  expect(await roll(ALL_BORN_BY)).toEqual([]);
  expect(await roll(inMonths(1))).toEqual(Object.keys(TAKEN).sort());
  expect(await roll(inMonths(1))).toEqual([]);
  expect(await roll(inMonths(2))).toEqual(Object.keys(TAKEN).sort());
});

test('their rows are those that the rules write, month after month', async () => {
  const { pool, catalogue } = library.context;
  const byRules = (userId: string): string => `${userId}-by-the-rules`;
  for (const [userId, past] of Object.entries(TAKEN)) await live(library, byRules(userId), past);
  // Part of it had gone before, as where a plan rolls over no more than so much.
  const partGone =
    'update credit_grants set amount_tokens = amount_tokens + 3, expired_tokens = 3 where user_id = any($1)';
  await pool.query(partGone, [['plain', byRules('plain')]]);
  for (const month of [1, 2, 3]) {
    const now = inMonths(month);
    expect(await roll(now)).toEqual(Object.keys(TAKEN).sort());
    for (const userId of Object.keys(TAKEN)) {
      await withAccount({ pool, catalogue, now }, byRules(userId), () => undefined);
      expect(await rowsOf(pool, userId), userId).toEqual(await rowsOf(pool, byRules(userId)));
    }
  }
});

test('whoever has missed more than one window is left to the rules', async () => {
  expect(await roll(inMonths(2))).toEqual([]);
});

test('nobody is taken where the free plan has no clock', async () => {
  const { free } = DEFAULT_CATALOGUE.plans;
  const plans = { ...DEFAULT_CATALOGUE.plans, free: { ...free!, reset: 'invoice' as const } };
  expect(await roll(inMonths(1), { ...DEFAULT_CATALOGUE, plans })).toEqual([]);
});
