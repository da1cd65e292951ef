// A subscription's life as Stripe tells it, event by event and in Stripe's own order.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { consume } from '../../src/lib/credits.ts';
import { cancelSubscription, confirmCheckout, resumeSubscription } from '../../src/stripe/billing.ts';
import { request, Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start();
});
afterAll(() => service.stop());

const spend = (userId: string, credits: number) =>
  consume(service.context, { userId, credits }, request('consume'));

test('a signup has 5 credits, and 100 after the checkout of pro', async () => {
  const userId = await service.signUp();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
  await service.buy(userId, { plan: 'pro' });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  expect(await service.usage(userId)).toMatchObject({ isSubscribed: true });
});

test('the success page may come before every webhook', async () => {
  const userId = await service.signUp();
  const sessionId = await service.buy(userId, { plan: 'pro' });
  const answer = await confirmCheckout(service.context, sessionId, request('confirm'));
  expect(answer.body).toMatchObject({
    status: 'complete',
    paymentStatus: 'paid',
    userId,
    plan: 'pro',
    credits: 100,
  });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('a paid renewal brings 100 again, whatever was left', async () => {
  const userId = await service.subscriber();
  await spend(userId, 30);
  await service.advance(32);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  expect(await service.usage(userId)).toMatchObject({ monthlyTokensUsed: 0, totalTokensUsed: 60_000 });
});

test('a failed renewal keeps pro and the old credits for a week, then lapses; a later payment brings it back', async () => {
  await service.control('/billing', { afterFinalRetry: 'unpaid' });
  const userId = await service.subscriber();
  await spend(userId, 60);
  await service.payments(userId, 'card_declined');
  await service.advance(33);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 40, allowance: 40 });
  await service.advance(7);
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
  await service.payments(userId, 'succeeds');
  const { latest_invoice: invoice } = await service.subscriptionOf(userId);
  await service.stripe.invoices.pay(String(invoice));
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('a subscription that dunning has ended stays ended, and its last invoice buys nothing when it is paid after all', async () => {
  await service.control('/billing', { afterFinalRetry: 'canceled' });
  const userId = await service.subscriber();
  await service.payments(userId, 'card_declined');
  await service.advance(40);
  await service.settle();
  await service.payments(userId, 'succeeds');
  const { latest_invoice: invoice } = await service.subscriptionOf(userId);
  await service.stripe.invoices.pay(String(invoice));
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
});

test('cancelled at period end it stays until then; it can be taken back before', async () => {
  const userId = await service.subscriber();
  const cancelled = await cancelSubscription(
    service.context,
    { userId, effective: 'period_end' },
    request('cancel'),
  );
  expect(cancelled.body).toMatchObject({ plan: 'pro', status: 'active', cancelAt: expect.any(String) });
  const resumed = await resumeSubscription(service.context, { userId }, request('resume'));
  expect(resumed.body).toMatchObject({ plan: 'pro', cancelAt: null });
  const again = resumeSubscription(service.context, { userId }, request('resume'));
  await expect(again).rejects.toMatchObject({ code: 'conflict' });

  await cancelSubscription(service.context, { userId, effective: 'period_end' }, request('cancel'));
  await spend(userId, 10);
  await service.advance(20);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 90, allowance: 90 });
  await service.advance(15);
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
});

test('cancelled now the rest is voided, and the month that had its free credits gets none again', async () => {
  const userId = await service.subscriber();
  const answer = await cancelSubscription(service.context, { userId, effective: 'now' }, request('cancel'));
  expect(answer.body).toMatchObject({ plan: 'free', status: 'canceled', isSubscribed: false });
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 0 });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 0 });
  await service.advance(32);
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
  const second = cancelSubscription(service.context, { userId, effective: 'now' }, request('cancel'));
  await expect(second).rejects.toMatchObject({ code: 'conflict' });
});

test('one who comes back after the end is pro again', async () => {
  const userId = await service.subscriber();
  await cancelSubscription(service.context, { userId, effective: 'now' }, request('cancel'));
  await service.buy(userId, { plan: 'pro' });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('a pack is kept for ever beside the plan', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { pack: 'pack_50' });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 55, allowance: 5, top_up: 50 });
  await service.buy(userId, { plan: 'pro' });
  await service.settle();
  await service.advance(64);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 150, allowance: 100, top_up: 50 });
  const { rows } = await service.context.pool.query(
    `select cost_basis_minor, currency from credit_grants where user_id = $1 and source = 'top_up'`,
    [userId],
  );
  expect(rows).toEqual([{ cost_basis_minor: 1000, currency: 'usd' }]);
});

test('an annual plan lands month by month and is explained to the cent', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro', interval: 'year' });
  await service.settle();
  await spend(userId, 70);
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 30, allowance: 30 });
  await service.advance(100);
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  await service.advance(240);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  const { rows } = await service.context.pool.query(
    `select count(*) as grants, sum(cost_basis_minor) as paid from credit_grants
     where user_id = $1 and invoice_id is not null`,
    [userId],
  );
  expect(rows).toEqual([{ grants: 12, paid: 20_000 }]);
});

test('a second subscription is refused', async () => {
  const userId = await service.subscriber();
  await expect(service.checkout(userId, { plan: 'pro' })).rejects.toMatchObject({ code: 'conflict' });
  await service.checkout(userId, { pack: 'pack_50' });
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
