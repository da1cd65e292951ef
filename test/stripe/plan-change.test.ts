// Changes of plan through our API: now and at the period's end, paid and unpaid, refused and taken back.
import type Stripe from 'stripe';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TollgateError } from '../../src/errors.ts';
import { subscriptionChanged } from '../../src/http/schemas/billing.ts';
import { consume } from '../../src/lib/credits.ts';
import { cancelSubscription, resumeSubscription } from '../../src/stripe/billing.ts';
import { changePlan, type PlanChangeInput } from '../../src/stripe/plan-change.ts';
import { TEAM_CATALOGUE } from './catalogue.ts';
import { request, Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start(TEAM_CATALOGUE);
});
afterAll(() => service.stop());

async function change(input: PlanChangeInput, key?: string) {
  const answer = await changePlan(service.context, input, request('change', key));
  expect(subscriptionChanged.parse(answer.body)).toEqual(answer.body);
  return answer;
}

const refusal = async (input: PlanChangeInput): Promise<TollgateError> => {
  const error = await change(input).catch((refused: unknown) => refused);
  expect(error).toMatchObject({ name: 'TollgateError' });
  return error as TollgateError;
};

async function invoicesOf(userId: string): Promise<Stripe.Invoice[]> {
  const { data } = await service.stripe.invoices.list({ customer: await service.customerOf(userId) });
  return data;
}

const priceOf = async (userId: string) =>
  (await service.subscriptionOf(userId)).items.data[0]!.price.lookup_key;

test('an upgrade is paid and given at once: the rest of the period is charged, the allowance filled up', async () => {
  const userId = await service.subscriber();
  await consume(service.context, { userId, credits: 40 }, request('consume'));
  const { status, body } = await change({ userId, plan: 'team' });
  expect(status).toBe(200);
  expect(body).toMatchObject({ plan: 'team', interval: 'month', status: 'active', pendingChange: null });
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 260, allowance: 260 });
  const [invoice] = await invoicesOf(userId);
  expect(invoice).toMatchObject({ billing_reason: 'subscription_update', status: 'paid', amount_paid: 4000 });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 260, allowance: 260 });
  await service.advance(32);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
});

test('from the month to the year is an upgrade: charged now, and the months keep coming', async () => {
  const userId = await service.subscriber();
  const { body } = await change({ userId, plan: 'pro', interval: 'year' });
  expect(body).toMatchObject({ plan: 'pro', interval: 'year', pendingChange: null });
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  expect((await invoicesOf(userId))[0]).toMatchObject({ status: 'paid', amount_paid: 18_000 });
  await service.settle();
  await service.advance(40);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('a change twice with the same key is one change, and the second answer is the first', async () => {
  const userId = await service.subscriber();
  const first = await change({ userId, plan: 'team' }, 'twice');
  const second = await change({ userId, plan: 'team' }, 'twice');
  expect(second).toEqual({ ...first, replayed: true });
  expect(await invoicesOf(userId)).toHaveLength(2);
});

test('two changes at once are one change; the other is told to come back or that it is done', async () => {
  const userId = await service.subscriber();
  const results = await Promise.allSettled([1, 2, 3].map(() => change({ userId, plan: 'team' })));
  for (const result of results) {
    if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'conflict' });
  }
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(await invoicesOf(userId)).toHaveLength(2);
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
});

test('an upgrade whose card fails changes nothing and says where to pay; unpaid it expires, paid it applies', async () => {
  const userId = await service.subscriber();
  await service.payments(userId, 'card_declined');
  const refused = await refusal({ userId, plan: 'team' });
  expect(refused).toMatchObject({
    code: 'conflict',
    members: { hostedInvoiceUrl: expect.stringMatching(/^http/), payBefore: expect.any(String) },
  });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  expect(await priceOf(userId)).toBe('pro_monthly');
  // Asked again meanwhile: the same answer, and no second invoice.
  const again = await refusal({ userId, plan: 'team' });
  expect(again.members.hostedInvoiceUrl).toBe(refused.members.hostedInvoiceUrl);
  expect(await invoicesOf(userId)).toHaveLength(2);

  await service.advance(1);
  await service.settle();
  expect((await service.subscriptionOf(userId)).pending_update).toBeNull();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });

  await refusal({ userId, plan: 'team' });
  await service.payments(userId, 'succeeds');
  const { latest_invoice: invoice } = await service.subscriptionOf(userId);
  await service.stripe.invoices.pay(String(invoice));
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
});

test('the key of an upgrade whose payment expired may be used again', async () => {
  const userId = await service.subscriber();
  await service.payments(userId, 'card_declined');
  await expect(change({ userId, plan: 'team' }, 'retry')).rejects.toMatchObject({ code: 'conflict' });
  // After the 23 h of the pending update, and before Stripe forgets the key of the first attempt (24 h).
  await service.advance(23.5 / 24);
  await service.payments(userId, 'succeeds');
  expect((await change({ userId, plan: 'team' }, 'retry')).body).toMatchObject({ plan: 'team' });
});

test('a downgrade waits for the period end; until then nothing is taken back', async () => {
  const userId = await service.subscriber('team');
  await consume(service.context, { userId, credits: 250 }, request('consume'));
  const { body } = await change({ userId, plan: 'pro' });
  const { items } = await service.subscriptionOf(userId);
  const effectiveAt = new Date(items.data[0]!.current_period_end * 1000).toISOString();
  expect(body).toMatchObject({
    plan: 'team',
    pendingChange: { plan: 'pro', interval: 'month', quantity: 1, effectiveAt },
  });
  await service.settle();
  await service.advance(20);
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 50, allowance: 50 });
  await service.advance(12);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  expect((await invoicesOf(userId))[0]).toMatchObject({ amount_paid: 2000, status: 'paid' });
  // Once it is in force it is no pending change: the next one is free to come.
  expect((await change({ userId, plan: 'team' })).body).toMatchObject({ plan: 'team', pendingChange: null });
});

test('from the year to the month waits for the end of the year', async () => {
  const userId = await service.subscriber('pro', 'year');
  const { body } = await change({ userId, plan: 'pro', interval: 'month' });
  expect(body).toMatchObject({ interval: 'year', pendingChange: { plan: 'pro', interval: 'month' } });
  await service.advance(200);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  expect(await priceOf(userId)).toBe('pro_annual');
  await service.advance(168);
  await service.settle();
  expect(await priceOf(userId)).toBe('pro_monthly');
  expect((await invoicesOf(userId))[0]).toMatchObject({ amount_paid: 2000 });
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('a coupon survives the downgrade', async () => {
  const userId = await service.subscriber('team');
  const coupon = await service.stripe.coupons.create({ percent_off: 50, duration: 'forever' });
  const { id } = await service.subscriptionOf(userId);
  await service.stripe.subscriptions.update(id, { discounts: [{ coupon: coupon.id }] });
  await change({ userId, plan: 'pro' });
  await service.advance(32);
  expect((await invoicesOf(userId))[0]).toMatchObject({ amount_paid: 1000 });
});

test('a downgrade now gives no new credits and keeps the old ones; the unused money pays the next invoice', async () => {
  const userId = await service.subscriber('team');
  await consume(service.context, { userId, credits: 50 }, request('consume'));
  const { body } = await change({ userId, plan: 'pro', effective: 'now' });
  expect(body).toMatchObject({ plan: 'pro', pendingChange: null });
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 250, allowance: 250 });
  const customer = (await service.stripe.customers.retrieve(
    await service.customerOf(userId),
  )) as Stripe.Customer;
  expect(customer.balance).toBe(-4000);
  await service.advance(32);
  await service.settle();
  expect((await invoicesOf(userId))[0]).toMatchObject({ total: 2000, amount_paid: 0, status: 'paid' });
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('up and down and up again gains nothing', async () => {
  const userId = await service.subscriber();
  for (const plan of ['team', 'pro', 'team', 'pro', 'team']) {
    await change({ userId, plan, effective: 'now' });
    await service.settle();
  }
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
});

test('more of the same plan is an upgrade and counts the difference', async () => {
  const userId = await service.subscriber();
  const { body } = await change({ userId, plan: 'pro', quantity: 3 });
  expect(body).toMatchObject({ plan: 'pro', quantity: 3, pendingChange: null });
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 300, allowance: 300 });
  expect((await change({ userId, plan: 'pro', quantity: 2 })).body).toMatchObject({
    quantity: 3,
    pendingChange: { plan: 'pro', quantity: 2 },
  });
  await service.settle();
  await service.advance(32);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 200, allowance: 200 });
});

test('the present plan takes a pending downgrade back', async () => {
  const userId = await service.subscriber('team');
  await change({ userId, plan: 'pro' });
  const other = await refusal({ userId, plan: 'pro', interval: 'year' });
  expect(other).toMatchObject({ code: 'conflict', members: { pendingChange: { plan: 'pro' } } });
  expect((await change({ userId, plan: 'team' })).body).toMatchObject({ plan: 'team', pendingChange: null });
  expect((await service.subscriptionOf(userId)).schedule).toBeNull();
  await service.advance(32);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
});

test('free is the end at the period end, and the present plan takes that back too', async () => {
  const userId = await service.subscriber();
  const { body } = await change({ userId, plan: 'free' });
  expect(body).toMatchObject({
    plan: 'pro',
    cancelAt: expect.any(String),
    pendingChange: { plan: 'free', effectiveAt: body.cancelAt },
  });
  expect(await refusal({ userId, plan: 'team' })).toMatchObject({ code: 'conflict' });
  expect((await change({ userId, plan: 'pro' })).body).toMatchObject({ cancelAt: null, pendingChange: null });
  expect((await change({ userId, plan: 'free', effective: 'now' })).body).toMatchObject({
    plan: 'free',
    status: 'canceled',
    pendingChange: null,
  });
});

test('resume releases a pending change, and cancel replaces it', async () => {
  const userId = await service.subscriber('team');
  await change({ userId, plan: 'pro' });
  const resumed = await resumeSubscription(service.context, { userId }, request('resume'));
  expect(resumed.body).toMatchObject({ plan: 'team' });
  expect((await service.subscriptionOf(userId)).schedule).toBeNull();
  await expect(resumeSubscription(service.context, { userId }, request('resume'))).rejects.toMatchObject({
    code: 'conflict',
  });

  await change({ userId, plan: 'pro' });
  const cancelled = await cancelSubscription(
    service.context,
    { userId, effective: 'period_end' },
    request('cancel'),
  );
  expect(cancelled.body).toMatchObject({ cancelAt: expect.any(String) });
  expect(await service.subscriptionOf(userId)).toMatchObject({ schedule: null, cancel_at_period_end: true });
  await service.advance(32);
  await service.settle();
  expect(await service.balance(userId)).toMatchObject({ plan: 'free', allowance: 5 });
});

test('resume ends a pause of either kind, the paid one by its invoice', async () => {
  const userId = await service.subscriber();
  const { id } = await service.subscriptionOf(userId);
  await service.stripe.subscriptions.update(id, { pause_collection: { behavior: 'void' } });
  expect(await refusal({ userId, plan: 'team' })).toMatchObject({ code: 'conflict' });
  await resumeSubscription(service.context, { userId }, request('resume'));
  expect((await service.subscriptionOf(userId)).pause_collection).toBeNull();

  await service.stripe.subscriptions.pause(id, {
    type: 'subscription',
    bill_for: { unused_time_from: { type: 'none' } },
  });
  await service.settle();
  expect(await service.balance(userId)).toMatchObject({ plan: 'free' });
  expect(await refusal({ userId, plan: 'team' })).toMatchObject({ code: 'conflict' });
  await service.payments(userId, 'card_declined');
  await service.advance(5);
  await expect(resumeSubscription(service.context, { userId }, request('resume'))).rejects.toMatchObject({
    code: 'conflict',
    members: { hostedInvoiceUrl: expect.stringMatching(/^http/) },
  });
  await service.advance(1);
  await service.payments(userId, 'succeeds');
  const resumed = await resumeSubscription(service.context, { userId }, request('resume'));
  expect(resumed.body).toMatchObject({ plan: 'pro', status: 'active' });
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('what cannot be changed is refused: bad names 400, wrong states 409 with advice', async () => {
  const userId = await service.signUp();
  for (const [input, path] of [
    [{ plan: 'gold' }, 'plan'],
    [{ plan: 'enterprise' }, 'plan'],
    [{ plan: 'toString' }, 'plan'],
  ] as const) {
    expect(await refusal({ userId, ...input })).toMatchObject({
      code: 'invalid_request',
      errors: [expect.objectContaining({ path })],
    });
  }
  for (const plan of ['pro', 'free']) {
    expect(await refusal({ userId, plan })).toMatchObject({ code: 'conflict' });
  }
  expect(await refusal({ userId: 'nobody', plan: 'pro' })).toMatchObject({ code: 'not_found' });
  const subscriber = await service.subscriber();
  const already = await refusal({ userId: subscriber, plan: 'pro' });
  expect(already).toMatchObject({ code: 'conflict', message: expect.stringContaining('already') });
});

test('who has not paid the renewal is sent to its invoice', async () => {
  const userId = await service.subscriber();
  await service.payments(userId, 'card_declined');
  await service.advance(32);
  await service.settle();
  expect(await refusal({ userId, plan: 'team' })).toMatchObject({
    code: 'conflict',
    members: { subscriptionStatus: 'past_due', hostedInvoiceUrl: expect.stringMatching(/^http/) },
  });
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
