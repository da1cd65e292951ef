// Users with a past, for tests of what falls due for many at once: free ones, plans given by hand, subscriptions of
// Stripe as its facts are stored, with bonuses, holds, spending and debt.
import fc from 'fast-check';
import type { PaidLine } from '../../src/domain/paid-lines.ts';
import { addDays, addMonths } from '../../src/domain/period.ts';
import { settle } from '../../src/domain/settle.ts';
import type { SubscriptionState } from '../../src/domain/subscription.ts';
import { TollgateError } from '../../src/errors.ts';
import { grantCredits } from '../../src/lib/grants.ts';
import { placeHold } from '../../src/lib/holds.ts';
import { changePlan } from '../../src/lib/plans.ts';
import { accountOptions } from '../../src/lib/requests.ts';
import { signUp } from '../../src/lib/users.ts';
import { withAccount } from '../../src/store/account.ts';
import { loadFacts } from '../../src/store/account-roll.ts';
import { bucketOf } from '../../src/store/bucket.ts';
import { storePaidLines } from '../../src/store/paid-lines.ts';
import { bindCustomer, storeSubscription } from '../../src/store/subscriptions.ts';
import { alone } from './doors.ts';
import type { Library } from './library.ts';
import { paidLine } from './paid-line.ts';
import { request } from './request.ts';

const ALL_AT = Date.UTC(2028, 0, 31, 10);
export const ALL_BORN_BY = new Date(ALL_AT + 3 * 86_400_000);

export interface Past {
  bornAfterHours: number;
  plan: 'free' | 'pro' | 'enterprise' | 'monthly' | 'annual' | 'canceled';
  planDays: number;
  bonuses: { tokens: number; days: number | null }[];
  hold: { tokens: number; seconds: number } | null;
  spentTokens: number;
  /** A pack that was paid back after it was spent leaves a debt. */
  hasDebt: boolean;
}

export const pasts = fc.record<Past>({
  bornAfterHours: fc.integer({ min: 0, max: 48 }),
  plan: fc.constantFrom('free', 'free', 'free', 'pro', 'enterprise', 'monthly', 'annual', 'canceled'),
  planDays: fc.integer({ min: 1, max: 70 }),
  bonuses: fc.array(
    fc.record({
      tokens: fc.integer({ min: 1, max: 9_000 }),
      days: fc.option(fc.integer({ min: 1, max: 90 })),
    }),
    { maxLength: 3 },
  ),
  hold: fc.option(
    fc.record({
      tokens: fc.integer({ min: 1, max: 9_000 }),
      seconds: fc.integer({ min: 1, max: 86_400 }),
    }),
  ),
  spentTokens: fc.integer({ min: 1, max: 30_000 }),
  hasDebt: fc.boolean(),
});

/** Free users with nothing but their allowance: what the job rolls by one statement (store/roll-free.ts). */
export const plainPasts = fc.record<Past>({
  bornAfterHours: fc.integer({ min: 0, max: 48 }),
  plan: fc.constant('free'),
  planDays: fc.constant(1),
  bonuses: fc.constant([]),
  hold: fc.constant(null),
  // Up to all of it, and more: that is refused.
  spentTokens: fc.constantFrom(1, 2_500, 9_999, 10_000, 10_001),
  hasDebt: fc.constant(false),
});

/** Ids that share a bucket, so that a chunk has many of them. */
export function idsOfBucket(prefix: string, bucket: number, count: number): string[] {
  const ids: string[] = [];
  for (let n = 0; ids.length < count; n++)
    if (bucketOf(`${prefix}-${n}`) === bucket) ids.push(`${prefix}-${n}`);
  return ids;
}

/** Lives a past under an id; the same past twice differs in the id alone. */
export async function live(library: Library, userId: string, past: Past): Promise<void> {
  let now = ALL_AT + past.bornAfterHours * 3_600_000;
  const context = library.with({ now: () => new Date(now) });
  const later = (): void => {
    now += 1_000;
  };
  await signUp(context, { userId });
  later();
  if (past.plan === 'pro' || past.plan === 'enterprise') {
    await changePlan(context, { userId, plan: past.plan, periodDays: past.planDays }, request('plan'));
  } else if (past.plan !== 'free') {
    await hear(context, userId, subscriptionOf(userId, past, new Date(now)));
  }
  later();
  for (const [n, { tokens, days }] of past.bonuses.entries()) {
    const expiresAt = days === null ? undefined : addDays(new Date(now), days);
    const bonus = { userId, tokens, source: 'bonus' as const, expiresAt, reason: 'test' };
    await grantCredits(context, bonus, request(`bonus-${n}`));
    later();
  }
  const pack = packOf(userId, new Date(now));
  if (past.hasDebt) await hear(context, userId, { subscriptions: [], lines: [pack] });
  later();
  const refused = (error: unknown): void => {
    if (!(error instanceof TollgateError) || error.code !== 'insufficient_credits') throw error;
  };
  if (past.hold) {
    const { tokens, seconds } = past.hold;
    const hold = { userId, tokens, expiresInSeconds: seconds };
    await placeHold(context, hold, request('hold')).catch(refused);
  }
  later();
  await alone(context, { userId, tokens: past.spentTokens }, request('spent')).catch(refused);
  later();
  if (past.hasDebt) {
    // All that there was is spent, then the money goes back.
    await withAccount(accountOptions(context), userId, (account) => {
      account.consume(account.user.availableTokens, { key: 'consume:all' });
    });
    later();
    const money = { ...pack.money, refundedMinor: pack.money.paidMinor, returnedAt: new Date(now) };
    await hear(context, userId, { subscriptions: [], lines: [{ ...pack, money }] });
  }
}

interface Heard {
  subscriptions: SubscriptionState[];
  lines: PaidLine[];
}

let tickets = 0;

/** As stripe/apply.ts does with what it has fetched. */
async function hear(
  context: Library['context'],
  userId: string,
  { subscriptions, lines }: Heard,
): Promise<void> {
  const ticket = ++tickets;
  await withAccount(accountOptions(context), userId, async (account, tx) => {
    await bindCustomer(tx, userId, `cus_${userId}`, account.now);
    for (const one of subscriptions) await storeSubscription(tx, userId, one, ticket, account.now);
    await storePaidLines(tx, userId, lines, { ticket, now: account.now });
    settle(account, await loadFacts(tx, account));
  });
}

function subscriptionOf(userId: string, { plan, planDays }: Past, start: Date): Heard {
  const interval = plan === 'annual' ? 'year' : 'month';
  const end = addMonths(start, interval === 'year' ? 12 : 1);
  const endedAt = plan === 'canceled' ? addDays(start, Math.min(planDays, 20)) : null;
  const subscription: SubscriptionState = {
    id: `sub_${userId}`,
    customerId: `cus_${userId}`,
    status: 'active',
    plan: 'pro',
    priceId: `price_${interval}`,
    lookupKey: interval === 'year' ? 'pro_annual' : 'pro_monthly',
    interval,
    quantity: 1,
    itemId: `si_${userId}`,
    currentPeriodStart: start,
    currentPeriodEnd: end,
    trialEnd: null,
    cancelAt: endedAt,
    canceledAt: null,
    endedAt: null,
    startedAt: start,
    latestInvoiceId: `in_${userId}`,
  };
  const line = paidLine(userId, `sub_${userId}`, { start, end }, { itemId: subscription.itemId, interval });
  return { subscriptions: [subscription], lines: [line] };
}

function packOf(userId: string, at: Date): PaidLine {
  const pack = {
    kind: 'pack' as const,
    offer: 'pack_50',
    subscriptionId: null,
    itemId: null,
    interval: null,
  };
  const ids = { key: `pack:cs_${userId}:li_1`, paymentId: `cs_${userId}`, lineId: 'li_1' };
  return paidLine(userId, '', { start: at, end: at }, { ...pack, ...ids });
}
