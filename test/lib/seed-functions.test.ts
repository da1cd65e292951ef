// The seed's sixteen functions and four constants, by name and as its snippets use them.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as tollgate from '../../src/index.ts';
import { runAs } from '../../src/lib/current.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { type Library, openLibrary, START } from '../support/library.ts';

const {
  checkSubscriptionExpiry,
  checkUserCredits,
  consumeCredits,
  createTollgate,
  downgradeUserToFree,
  getCreditStatus,
  getSubscriptionStatus,
  getUsageStatus,
  getUserCredits,
  grantBonusCredits,
  initializeUserCredits,
  initializeUserOnSignup,
  renewSubscription,
  resetMonthlyTokens,
  upgradeUserToPro,
  validateAndConsumeCredits,
  validateCredits,
} = tollgate;

let library: Library;
beforeAll(async () => {
  library = await openLibrary();
  createTollgate(library.context);
});
afterAll(async () => {
  expect(await findViolations(library.context.pool)).toEqual([]);
  await library.close();
});

let users = 0;
const newUser = async (): Promise<string> => {
  library.setTime(START);
  const userId = `seed-${users++}`;
  await initializeUserOnSignup(userId, { isPro: false });
  return userId;
};
const asUser = <T>(userId: string, work: () => T): T => runAs(library.context, userId, work);

describe('constants', () => {
  it('are the seed’s', () => {
    const { TOKENS_PER_CREDIT, FREE_USER_CREDITS, PRO_USER_CREDITS, TOKENS_PER_REQUEST } = tollgate;
    expect([TOKENS_PER_CREDIT, FREE_USER_CREDITS, PRO_USER_CREDITS, TOKENS_PER_REQUEST]).toEqual([
      2000, 5, 100, 2000,
    ]);
  });
});

describe('inside a request', () => {
  it('checkUserCredits, consumeCredits and getUsageStatus know the user', async () => {
    await asUser(await newUser(), async () => {
      const { hasCredits } = await checkUserCredits();
      expect(hasCredits).toBe(true);
      const { creditsRemaining } = await consumeCredits();
      expect(creditsRemaining).toBe(4);
      const usage = await getUsageStatus();
      expect(`${usage.credits} credits, ${usage.totalTokensUsed} tokens used`).toBe(
        '4 credits, 2000 tokens used',
      );
      expect(await getCreditStatus()).toEqual(usage);
      expect(await getUserCredits()).toMatchObject({ credits: 4, totalTokens: 10_000, isPro: false });
    });
  });

  it('validateCredits lets pass while there are credits, then hands on the error', async () => {
    await asUser(await newUser(), async () => {
      const errors: unknown[] = [];
      const middleware = validateCredits();
      await middleware({}, {}, (error) => errors.push(error));
      await consumeCredits(undefined, { credits: 5 });
      await middleware({}, {}, (error) => errors.push(error));
      expect(errors).toMatchObject([undefined, { code: 'insufficient_credits' }]);
    });
  });
});

describe('outside a request', () => {
  it('a function without a user says what to do', async () => {
    await expect(consumeCredits()).rejects.toMatchObject({
      code: 'unauthenticated',
      message: 'No user: pass a userId, or call this inside a request of one.',
    });
  });

  it('an unknown user is not found, and nothing is made of it', async () => {
    await expect(consumeCredits('nobody')).rejects.toMatchObject({ code: 'not_found' });
    await expect(getUsageStatus('nobody')).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('plans', () => {
  it('initializeUserOnSignup gives 5 credits, once', async () => {
    const userId = await newUser();
    expect(await initializeUserOnSignup(userId, { isPro: false })).toMatchObject({
      credits: 5,
      totalTokens: 10_000,
    });
    expect(await initializeUserCredits(userId, true)).toMatchObject({ credits: 5, subscriptionTier: 'free' });
    expect(await initializeUserCredits(`seed-pro-${users}`, true)).toMatchObject({
      credits: 100,
      isSubscribed: true,
    });
  });

  it('upgradeUserToPro(userId, 30) gives 100 credits until 30 days later, and not twice', async () => {
    const userId = await newUser();
    expect(await upgradeUserToPro(userId, 30)).toMatchObject({
      credits: 100,
      subscriptionTier: 'pro',
      subscriptionEndsAt: '2026-03-02T10:00:00.000Z',
    });
    await expect(upgradeUserToPro(userId, 30)).rejects.toMatchObject({ code: 'conflict' });
    expect(await getUserCredits(userId)).toMatchObject({ credits: 100, isPro: true });
  });

  it('the same key upgrades once and answers alike', async () => {
    const userId = await newUser();
    await upgradeUserToPro(userId, 30, { key: 'order-1' });
    await upgradeUserToPro(userId, 30, { key: 'order-1' });
    expect(await getUserCredits(userId)).toMatchObject({ credits: 100 });
  });

  it('downgradeUserToFree voids the paid rest, keeps the bonus, and gives no second free allowance', async () => {
    const userId = await newUser();
    await grantBonusCredits(userId, 10);
    await upgradeUserToPro(userId, 30);
    expect(await downgradeUserToFree(userId)).toMatchObject({ credits: 10, subscriptionTier: 'free' });
  });

  it('checkSubscriptionExpiry ends a plan when its days are over, not before', async () => {
    const userId = await newUser();
    await upgradeUserToPro(userId, 30);
    library.setTime('2026-03-02T09:59:59.999Z');
    expect(await checkSubscriptionExpiry(userId)).toEqual({ expired: false, plan: 'pro' });
    library.setTime('2026-03-02T10:00:00.000Z');
    expect(await checkSubscriptionExpiry(userId)).toEqual({ expired: true, plan: 'free' });
    expect(await getUsageStatus(userId)).toMatchObject({ credits: 5, isSubscribed: false });
    expect(await getSubscriptionStatus(userId)).toMatchObject({ plan: 'free', subscriptionEndsAt: null });
  });

  it('renewSubscription moves the end and lands the next 100', async () => {
    const userId = await newUser();
    await upgradeUserToPro(userId, 30);
    await consumeCredits(userId, { credits: 60 });
    expect(await renewSubscription(userId, 30)).toMatchObject({
      credits: 100,
      subscriptionEndsAt: '2026-04-01T10:00:00.000Z',
    });
  });
});

describe('credits', () => {
  it('grantBonusCredits(userId, 10) adds 10', async () => {
    const userId = await newUser();
    expect(await grantBonusCredits(userId, 10)).toMatchObject({ credits: 15 });
  });

  it('validateAndConsumeCredits consumes, and at zero says so without throwing', async () => {
    const userId = await newUser();
    expect(await validateAndConsumeCredits(userId, { credits: 5 })).toMatchObject({ success: true });
    expect(await validateAndConsumeCredits(userId)).toEqual({
      success: false,
      status: 429,
      error: 'Insufficient credits',
      detail: 'You have 0 credits remaining (0 tokens)',
    });
  });

  it('resetMonthlyTokens does nothing before the month is over, then resets once', async () => {
    const userId = await newUser();
    await consumeCredits(userId, { credits: 3 });
    await resetMonthlyTokens(userId);
    expect(await getUsageStatus(userId)).toMatchObject({ credits: 2, monthlyTokensUsed: 6_000 });
    library.setTime('2026-02-28T10:00:00.000Z');
    await resetMonthlyTokens(userId);
    await resetMonthlyTokens(userId);
    expect(await getUsageStatus(userId)).toMatchObject({
      credits: 5,
      monthlyTokensUsed: 0,
      totalTokensUsed: 6_000,
      monthlyResetDate: '2026-02-28T10:00:00.000Z',
      nextResetAt: '2026-03-31T10:00:00.000Z',
    });
  });

  it.each([
    ['no credits', () => grantBonusCredits('seed-0', 0), 'tokens'],
    ['negative credits', () => grantBonusCredits('seed-0', -5), 'tokens'],
    ['half a token', () => consumeCredits('seed-0', { tokens: 0.5 }), 'tokens'],
    ['more than 2^53', () => consumeCredits('seed-0', { tokens: 2 ** 60 }), 'tokens'],
    ['an unknown feature', () => consumeCredits('seed-0', { feature: 'flying' }), 'feature'],
    ['no days', () => upgradeUserToPro('seed-0', 0), 'periodDays'],
    ['an empty user id', () => initializeUserOnSignup(''), 'userId'],
  ])('%s: refused, naming the field', async (_what, call, path) => {
    await expect(call()).rejects.toMatchObject({ code: 'invalid_request', errors: [{ path }] });
  });
});
