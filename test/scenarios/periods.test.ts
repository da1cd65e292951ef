// What time does to credits: months of a year, ends of months, missed jobs, expiry (peers.md pains 12 to 15).
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { grantCredits } from '../../src/lib/grants.ts';
import { rollUsers } from '../../src/lib/roll-users.ts';
import { request, type Service } from '../stripe/harness.ts';
import { lost, only, type Scene, spend, startScene } from './scene.ts';

let scene: Scene;
let service: Service;
beforeAll(async () => {
  scene = await startScene();
  service = scene.service;
});
beforeEach(() => service.settle(lost).then(() => undefined));
afterAll(() => scene.stop());

const DAY = 86_400_000;
const grantsOf = async (userId: string) =>
  (
    await service.context.pool.query(
      `select window_start, window_end, amount_tokens from credit_grants
       where user_id = $1 and source = 'allowance' order by window_start`,
      [userId],
    )
  ).rows as { window_start: Date; window_end: Date; amount_tokens: number }[];

/** The next 31 January at noon. */
async function goToTheEndOfJanuary(): Promise<Date> {
  const now = service.sandbox.now();
  const to = new Date(Date.UTC(now.getUTCFullYear() + 1, 0, 31, 12));
  await service.control('/clock/advance', { to: to.toISOString() });
  return to;
}

test('an annual plan gives a month at a time, on the day of the month on which it began', async () => {
  const start = await goToTheEndOfJanuary();
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro', interval: 'year' });
  await service.settle();
  expect((await service.balance(userId)).credits).toBe(100);
  await service.advance(180);
  expect((await service.balance(userId)).credits).toBe(100);
  const year = start.getUTCFullYear();
  const isLeap = new Date(Date.UTC(year, 1, 29)).getUTCMonth() === 1;
  const days = (await grantsOf(userId))
    .filter(({ amount_tokens: tokens }) => tokens === 200_000)
    .map(({ window_start: from }) => from.toISOString().slice(5, 10));
  expect(days).toEqual(['01-31', isLeap ? '02-29' : '02-28', '03-31', '04-30', '05-31', '06-30']);
});

test('the free month of one who signed up on the 31st returns to the 31st', async () => {
  await goToTheEndOfJanuary();
  const userId = await service.signUp();
  await service.advance(100);
  expect((await service.balance(userId)).credits).toBe(5);
  const days = (await grantsOf(userId)).map(({ window_start: from }) => from.toISOString().slice(5, 10));
  expect(days[0]).toBe('01-31');
  expect(days.at(2)).toBe('03-31');
});

test('a reset that no job has done for three months is done by the first look, once, with one month’s credits', async () => {
  const userId = await service.signUp();
  await spend(service, userId, 5);
  await service.advance(95);
  expect((await service.balance(userId)).credits).toBe(5);
  expect(await rollUsers(service.context, 'due')).toBeGreaterThanOrEqual(0);
  const before = await grantsOf(userId);
  await Promise.all(Array.from({ length: 4 }, () => rollUsers(service.context, 'due')));
  expect(await grantsOf(userId)).toEqual(before);
  // Those of the months that nobody saw have landed and expired: the ledger is that of a punctual visitor.
  expect(before).toHaveLength(4);
  expect((await service.balance(userId)).credits).toBe(5);
});

test('a renewal between Stripe’s new period and its payment leaves the old credits usable', async () => {
  const userId = await service.subscriber();
  await spend(service, userId, 80);
  const { items } = await service.subscriptionOf(userId);
  const end = items.data[0]!.current_period_end;
  const now = service.sandbox.now().getTime() / 1000;
  // The period has rolled, its invoice is a draft for another hour.
  await service.control('/clock/advance', { seconds: Math.ceil(end - now) + 600 });
  await service.settle();
  expect((await service.subscriptionOf(userId)).items.data[0]!.current_period_start).toBe(end);
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 20, allowance: 20 });
  await spend(service, userId, 5);
  await service.advance(0.1);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('expired credits cannot be spent, although no job has run; what was bought stays', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { pack: 'pack_50' });
  await service.settle();
  const expiresAt = new Date(service.sandbox.now().getTime() + 3 * DAY);
  await grantCredits(
    service.context,
    { userId, tokens: 60_000, source: 'bonus', reason: 'Welcome', expiresAt },
    request('grant'),
  );
  expect((await service.balance(userId)).credits).toBe(85);
  await service.advance(3);
  await expect(spend(service, userId, 56)).rejects.toMatchObject({ code: 'insufficient_credits' });
  await spend(service, userId, 55);
  await expect(spend(service, userId, 1)).rejects.toMatchObject({ code: 'insufficient_credits' });
});

test('what expires soonest burns first, and expiry takes no more than what is left of it', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { pack: 'pack_50' });
  await service.settle();
  const expiresAt = new Date(service.sandbox.now().getTime() + 3 * DAY);
  await grantCredits(
    service.context,
    { userId, tokens: 60_000, source: 'bonus', reason: 'Welcome', expiresAt },
    request('grant'),
  );
  await spend(service, userId, 20);
  expect(await service.balance(userId)).toMatchObject({ bonus: 10, top_up: 50, allowance: 5 });
  await service.advance(3);
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 55, allowance: 5, top_up: 50 });
});

test('a delayed payment gives nothing while it is on its way, its credits when it arrives, and none when it fails', async () => {
  const arrives = await service.signUp();
  const fails = await service.signUp();
  await service.buy(arrives, { pack: 'pack_50' }, 'async_succeeds');
  await service.buy(fails, { pack: 'pack_50' }, 'async_fails');
  const heard = await service.settle((all) => [...all, ...all]);
  expect(only('checkout.session.completed')(heard)).toHaveLength(4);
  for (const userId of [arrives, fails]) expect((await service.balance(userId)).credits).toBe(5);
  await service.advance(5);
  const later = await service.settle((all) => [...[...all].reverse(), ...all]);
  expect(
    only('checkout.session.async_payment_succeeded', 'checkout.session.async_payment_failed')(later),
  ).toHaveLength(4);
  expect(await service.balance(arrives)).toEqual({ plan: 'free', credits: 55, allowance: 5, top_up: 50 });
  expect(await service.balance(fails)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
  // "completed" delivered again after the payment: the same pack.
  for (const delivery of only('checkout.session.completed')(heard)) await service.receive(delivery);
  expect((await service.balance(arrives)).credits).toBe(55);
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
