// Changes of plan gain nothing beyond what is paid, and lose nothing that was bought (peers.md pains 10, 11, 20).
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { grantCredits } from '../../src/lib/grants.ts';
import { cancelSubscription } from '../../src/stripe/billing.ts';
import { request, type Service } from '../stripe/harness.ts';
import { invoicesOf, lost, priceId, type Scene, spend, startScene, subscribe, switchTo } from './scene.ts';

let scene: Scene;
let service: Service;
beforeAll(async () => {
  scene = await startScene();
  service = scene.service;
});
beforeEach(() => service.settle(lost).then(() => undefined));
afterAll(() => scene.stop());

const now = { proration_behavior: 'always_invoice' } as const;
const cancelNow = (userId: string) =>
  cancelSubscription(service.context, { userId, effective: 'now' }, request('cancel'));

test('an upgrade adds the difference, so that up, down and up again gains nothing', async () => {
  const userId = await service.subscriber();
  await spend(service, userId, 60);
  await switchTo(service, userId, 'team_monthly', now);
  await service.settle();
  expect((await service.balance(userId)).credits).toBe(240);
  for (const key of ['pro_monthly', 'team_monthly', 'pro_monthly', 'team_monthly']) {
    await switchTo(service, userId, key, now);
    await service.settle((all) => [...[...all].reverse(), ...all]);
  }
  expect((await service.balance(userId)).credits).toBe(240);
});

test('a change that is paid after a later one adds nothing to what the later one gave', async () => {
  const userId = await service.subscriber();
  await service.payments(userId, 'card_declined');
  await switchTo(service, userId, 'team_monthly', { ...now, payment_behavior: 'allow_incomplete' });
  const [unpaid] = await invoicesOf(service, userId);
  expect(unpaid!.status).toBe('open');
  await service.payments(userId, 'succeeds');
  await service.advance(1);
  const { id, items } = await service.subscriptionOf(userId);
  await service.stripe.subscriptions.update(id, { ...now, items: [{ id: items.data[0]!.id, quantity: 2 }] });
  await service.settle();
  expect((await service.balance(userId)).credits).toBe(600);
  await service.advance(1);
  await service.stripe.invoices.pay(unpaid!.id!);
  await service.settle((all) => [...all, ...all]);
  expect((await service.balance(userId)).credits).toBe(600);
});

test('two upgrades in one second both count, and once', async () => {
  const userId = await service.subscriber();
  await switchTo(service, userId, 'team_monthly', now);
  await service.settle();
  const { id, items } = await service.subscriptionOf(userId);
  await service.stripe.subscriptions.update(id, { ...now, items: [{ id: items.data[0]!.id, quantity: 2 }] });
  await service.settle((all) => [...[...all].reverse(), ...all]);
  expect((await service.balance(userId)).credits).toBe(600);
});

test('a change that is not paid gives nothing', async () => {
  const userId = await service.subscriber();
  await service.payments(userId, 'card_declined');
  await switchTo(service, userId, 'team_monthly', { ...now, payment_behavior: 'pending_if_incomplete' });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  await switchTo(service, userId, 'team_monthly', { ...now, payment_behavior: 'allow_incomplete' }).catch(
    () => undefined,
  );
  await service.settle();
  expect((await service.balance(userId)).credits).toBe(100);
});

test('what was bought or given as a bonus survives upgrade, renewal, downgrade and end', async () => {
  const userId = await service.subscriber();
  await service.buy(userId, { pack: 'pack_50' });
  const bonus = { userId, tokens: 40_000, source: 'bonus', reason: 'Thanks' } as const;
  await grantCredits(service.context, bonus, request('grant'));
  await service.settle();
  const kept = async () => {
    const { top_up: pack, bonus: given } = await service.balance(userId);
    return [pack, given];
  };
  await switchTo(service, userId, 'team_monthly', now);
  await service.settle();
  expect(await kept()).toEqual([50, 20]);
  await service.advance(32);
  await service.settle();
  expect(await kept()).toEqual([50, 20]);
  await switchTo(service, userId, 'pro_monthly', now);
  await service.settle();
  expect(await kept()).toEqual([50, 20]);
  await cancelNow(userId);
  await service.settle();
  expect(await service.balance(userId)).toMatchObject({ plan: 'free', top_up: 50, bonus: 20 });
});

test('an edit of the product or the price in Stripe changes nobody’s balance', async () => {
  const userId = await service.subscriber();
  await spend(service, userId, 30);
  const price = await priceId(service, 'pro_monthly');
  const { product } = await service.stripe.prices.retrieve(price);
  await service.stripe.products.update(String(product), { name: 'Pro Plus', metadata: { credits: '9999' } });
  await service.stripe.prices.update(price, { nickname: 'new', metadata: { credits: '9999' } });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 70, allowance: 70 });
});

test('coming and going inside a month gives the free credits once', async () => {
  const userId = await service.signUp();
  await spend(service, userId, 5);
  for (let round = 0; round < 3; round++) {
    await service.buy(userId, { plan: 'pro' });
    await service.settle();
    await cancelNow(userId);
    await service.settle();
    expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 0 });
  }
});

test('a second trial of a plan gives nothing, also after the customer was deleted in Stripe', async () => {
  const userId = await service.signUp();
  await subscribe(service, userId, { trial_period_days: 14 });
  await service.settle();
  await spend(service, userId, 100);
  await service.stripe.customers.del(await service.customerOf(userId));
  await service.settle();
  await subscribe(service, userId, { trial_period_days: 14 });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 0 });
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
