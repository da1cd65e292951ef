// No order is promised and many events share a second: what Stripe says now wins, never what came last (C2 7 to 11).
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Context } from '../../src/context.ts';
import { syncInvoice, syncSubscription } from '../../src/stripe/sync.ts';
import { type Delivery, type Service, sign } from '../stripe/harness.ts';
import { editedStripe } from '../support/edited-stripe.ts';
import {
  lost,
  only,
  refund,
  type Scene,
  signed,
  spend,
  startScene,
  subscribe,
  switchTo,
  without,
} from './scene.ts';

let scene: Scene;
let service: Service;
beforeAll(async () => {
  scene = await startScene();
  service = scene.service;
});
beforeEach(async () => {
  await service.settle(lost);
  service.alerts.splice(0);
});
afterAll(() => scene.stop());

const PRO = { plan: 'pro', credits: 100, allowance: 100 };
const ENDED = { plan: 'free', credits: 0 };

/** Signed anew, as Stripe does for each attempt. */
const again = ({ body, event }: Delivery): Delivery => ({ body, signature: sign(body), event });

test('"created" with its first status, heard of last, does not undo what came after it', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  const heard = await service.settle((all) => [
    ...without('customer.subscription.created')(all),
    ...only('customer.subscription.created')(all),
  ]);
  expect(heard.at(-1)!.event.type).toBe('customer.subscription.created');
  expect(await service.balance(userId)).toEqual(PRO);
});

test('an "active" that is delivered again after the end does not bring the plan back', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  const before = await service.settle();
  await service.stripe.subscriptions.cancel((await service.subscriptionOf(userId)).id);
  await service.settle();
  for (const delivery of before) await service.receive(again(delivery));
  for (const { body, event } of before) {
    const other = { ...JSON.parse(body.toString()), id: `${event.id}_again` };
    await service.receive(signed(other));
  }
  expect(await service.balance(userId)).toEqual(ENDED);
});

test('a "past_due" that is delivered after the payment locks nobody out', async () => {
  const userId = await service.subscriber();
  await service.payments(userId, 'card_declined');
  await service.advance(32);
  await service.payments(userId, 'succeeds');
  await service.advance(5);
  await service.settle((all) => [...all].reverse());
  expect(await service.balance(userId)).toEqual(PRO);
  expect((await service.usage(userId)).isSubscribed).toBe(true);
});

test.each([
  ['in order', (all: Delivery[]) => all],
  ['reversed', (all: Delivery[]) => [...all].reverse()],
  [
    'odd ones first',
    (all: Delivery[]) => [...all].sort((a, b) => (all.indexOf(a) % 2) - (all.indexOf(b) % 2)),
  ],
])('events of the same second, %s, end in what is now', async (_order, arrange) => {
  const userId = await service.subscriber();
  for (const key of ['team_monthly', 'pro_monthly', 'team_monthly']) {
    await switchTo(service, userId, key, { proration_behavior: 'none' });
  }
  const heard = await service.settle(arrange);
  const seconds = heard.map(({ body }) => (JSON.parse(body.toString()) as { created: number }).created);
  expect(new Set(seconds).size).toBe(1);
  expect((await service.balance(userId)).plan).toBe('team');
});

test('of two reads that overlap the later one wins, whichever is written first', async () => {
  const userId = await service.subscriber();
  const { id } = await service.subscriptionOf(userId);
  const { context } = service;
  // The first has read "pro" and is held up before it writes.
  const holder = await context.pool.connect();
  await holder.query('begin');
  await holder.query('select 1 from users where id = $1 for update', [userId]);
  const slow = syncSubscription(context, id);
  const waiting = async (): Promise<number> => {
    const { rows } = await context.pool.query(
      `select count(*) as count from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock' and query like '%from users where bucket%'`,
    );
    return Number(rows[0].count);
  };
  await expect.poll(waiting, { timeout: 20_000, interval: 50 }).toBe(1);
  await switchTo(service, userId, 'team_monthly', { proration_behavior: 'none' });
  const fast = syncSubscription(context, id);
  await expect.poll(waiting, { timeout: 20_000, interval: 50 }).toBe(2);
  await holder.query('rollback');
  holder.release();
  await Promise.all([slow, fast]);
  expect((await service.balance(userId)).plan).toBe('team');
  // And a read that is older than what is stored changes nothing.
  await context.pool.query('update subscriptions set last_ticket = last_ticket + 1000 where id = $1', [id]);
  await switchTo(service, userId, 'pro_monthly', { proration_behavior: 'none' });
  await syncSubscription(context, id);
  expect((await service.balance(userId)).plan).toBe('team');
});

/** @returns a sync that has read the subscription, and whose answer is on its way until `arrive` is called */
async function heldUp(
  sync: (context: Context) => Promise<unknown>,
  subscriptionId: string,
): Promise<{ arrive(): Promise<unknown> }> {
  let letGo = (): void => undefined;
  let slow: Promise<unknown> = Promise.resolve();
  await new Promise<void>((hasRead) => {
    const stripe = editedStripe(service.sandbox.url, async (path) => {
      if (path !== `/v1/subscriptions/${subscriptionId}`) return;
      await new Promise<void>((resolve) => {
        letGo = resolve;
        hasRead();
      });
    });
    slow = sync({ ...service.context, stripe });
  });
  return {
    arrive: () => {
      letGo();
      return slow;
    },
  };
}

test('a read whose answer is held up on its way overwrites neither plan nor money that was read after it', async () => {
  const userId = await service.subscriber();
  const { id, latest_invoice: invoice } = await service.subscriptionOf(userId);
  const plan = await heldUp((slow) => syncSubscription(slow, id), id);
  const money = await heldUp((slow) => syncInvoice(slow, String(invoice)), id);
  await switchTo(service, userId, 'team_monthly', { proration_behavior: 'none' });
  await refund(service, userId, 500);
  await syncInvoice(service.context, String(invoice));
  const now = { plan: 'team', credits: 75, allowance: 75 };
  expect(await service.balance(userId)).toEqual(now);
  await plan.arrive();
  await money.arrive();
  expect(await service.balance(userId)).toEqual(now);
});

test('the end of the old subscription takes neither the new plan nor its credits', async () => {
  const userId = await service.subscriber();
  const old = await service.subscriptionOf(userId);
  await service.stripe.subscriptions.cancel(old.id);
  await service.buy(userId, { plan: 'team' });
  const heard = await service.settle((all) => [
    ...without('customer.subscription.deleted')(all),
    ...only('customer.subscription.deleted')(all),
  ]);
  expect(heard.at(-1)!.event.type).toBe('customer.subscription.deleted');
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
  await service.receive(again(heard.at(-1)!));
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
});

test('of two subscriptions at once the older counts, an operator hears of it, and the other takes over at its end', async () => {
  const userId = await service.subscriber();
  const first = await service.subscriptionOf(userId);
  await spend(service, userId, 40);
  await service.advance(1);
  await subscribe(service, userId);
  await service.settle();
  expect(service.alerts).toContain('two_subscriptions');
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 60, allowance: 60 });
  await service.stripe.subscriptions.cancel(first.id);
  await service.settle();
  expect(await service.balance(userId)).toEqual(PRO);
});

test('a cancellation that is set by cancel_at alone or by the flag is announced, and ends the plan then', async () => {
  const byTime = await service.subscriber();
  const byFlag = await service.subscriber();
  const { id, items } = await service.subscriptionOf(byTime);
  const end = items.data[0]!.current_period_end;
  await service.stripe.subscriptions.update(id, { cancel_at: end });
  await service.stripe.subscriptions.update((await service.subscriptionOf(byFlag)).id, {
    cancel_at_period_end: true,
  });
  await service.settle();
  for (const userId of [byTime, byFlag]) {
    const { rows } = await service.context.pool.query(
      'select subscription_ends_at from users where id = $1',
      [userId],
    );
    expect(rows[0].subscription_ends_at).toEqual(new Date(end * 1000));
    expect(await service.balance(userId)).toEqual(PRO);
  }
  await service.advance(32);
  // Nobody tells: the end that was announced is applied by the clock.
  await service.settle(lost);
  for (const userId of [byTime, byFlag]) expect((await service.balance(userId)).plan).toBe('free');
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
