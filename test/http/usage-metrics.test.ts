// The five numbers to watch, of a small world whose sums can be done by hand.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startService();
  await live();
});
afterAll(() => service.close());

const post = async (path: string, body: Record<string, unknown>) => {
  const answer = await service.call('POST', path, { as: service.keys.admin, body });
  expect(answer.status, answer.text).toBeLessThan(300);
  return answer.body;
};
const consume = (userId: string, cost: Record<string, unknown>) =>
  post('/v1/credits/consume', { userId, ...cost });
const metrics = async (query = '?from=2026-03-11T00:00:00Z&to=2026-03-13T00:00:00Z') =>
  (await service.call('GET', `/v1/admin/metrics${query}`, { as: service.keys.admin })).body;

async function live(): Promise<void> {
  for (const [userId, plan] of Object.entries({ f1: 'free', f2: 'free', p1: 'pro', e1: 'enterprise' })) {
    await service.user(userId, plan);
  }
  service.clock.set('2026-03-11T09:00:00Z');
  await service.user('n1');
  await consume('f1', { feature: 'code_review' });
  await consume('f2', { tokens: 500 });
  const { entryId } = await consume('p1', { tokens: 6000 });
  await post('/v1/credits/refund', { entryId, tokens: 1000, reason: 'half of it' });
  // One token more than the plan of a metered user gives.
  await consume('e1', { tokens: 2_000_001 });
  service.clock.set('2026-03-12T23:59:59.999Z');
  await service.user('n2', 'pro');
  await post('/v1/users/f2/plan', { plan: 'pro' });
  await consume('f2', { feature: 'code_review' });
  service.clock.set('2026-03-13T00:00:00Z');
  await service.user('too-late');
  await consume('f1', { feature: 'code_review' });
}

it('counts what happened in the period, and nothing of before or after', async () => {
  const none = { consumptions: 0, consumedTokens: 0, refundedTokens: 0 };
  expect(await metrics()).toEqual({
    from: '2026-03-11T00:00:00.000Z',
    to: '2026-03-13T00:00:00.000Z',
    consumption: {
      consumptions: 5,
      consumedTokens: 2_010_501,
      refundedTokens: 1000,
      netTokens: 2_009_501,
      netCredits: 1004,
      users: 4,
      tokensPerDay: 1_004_751,
    },
    users: {
      total: 6,
      free: 2,
      paid: 4,
      paidShare: 0.6667,
      byPlan: [
        { plan: 'enterprise', users: 1 },
        { plan: 'free', users: 2 },
        { plan: 'pro', users: 3 },
      ],
    },
    usage: [
      { feature: null, plan: 'enterprise', ...none, consumptions: 1, consumedTokens: 2_000_001 },
      { feature: null, plan: 'pro', consumptions: 1, consumedTokens: 6000, refundedTokens: 1000 },
      { feature: 'code_review', plan: 'free', ...none, consumptions: 1, consumedTokens: 2000 },
      { feature: 'code_review', plan: 'pro', ...none, consumptions: 1, consumedTokens: 2000 },
      { feature: null, plan: 'free', ...none, consumptions: 1, consumedTokens: 500 },
    ],
    conversion: { signups: 2, convertedSignups: 1, rate: 0.5, conversions: 2 },
    trend: [
      {
        day: '2026-03-11',
        consumptions: 4,
        consumedTokens: 2_008_501,
        refundedTokens: 1000,
        grantedTokens: 10_000,
        expiredTokens: 0,
        voidedTokens: 0,
      },
      {
        day: '2026-03-12',
        consumptions: 1,
        consumedTokens: 2000,
        refundedTokens: 0,
        grantedTokens: 400_000,
        expiredTokens: 0,
        voidedTokens: 9500,
      },
    ],
  });
});

it('keeps the numbers of a period that is over, whatever its users do next', async () => {
  const before = await metrics();
  service.clock.set('2026-03-14T00:00:00Z');
  await post('/v1/users/f1/plan', { plan: 'pro' });
  await post('/v1/users/p1/plan', { plan: 'free', effective: 'now' });
  const { users: _before, ...numbers } = before;
  const { users, ...after } = await metrics();
  expect(after).toEqual(numbers);
  expect(users.byPlan).toContainEqual({ plan: 'pro', users: 3 });
});

it('is of the last 30 days where nothing is said, ends now, and has no share of nobody', async () => {
  service.clock.set('2026-09-01T06:00:00Z');
  const body = await metrics('');
  expect([body.from, body.to]).toEqual(['2026-08-02T06:00:00.000Z', '2026-09-01T06:00:00.000Z']);
  expect(body.trend).toHaveLength(31);
  expect(body.consumption).toMatchObject({ consumptions: 0, tokensPerDay: 0, users: 0 });
  expect(body.conversion).toEqual({ signups: 0, convertedSignups: 0, rate: null, conversions: 0 });
  const ahead = await metrics('?from=2026-09-01T00:00:00Z&to=2026-12-31T00:00:00Z');
  expect(ahead.to).toBe('2026-09-01T06:00:00.000Z');
});
