// One payment gives its credits once: whatever tells of it, how often, and how many at once (stripe.md C2 1 to 3).
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { backfillEvents } from '../../src/stripe/backfill.ts';
import { confirmCheckout } from '../../src/stripe/billing.ts';
import { handleStripeEvent } from '../../src/stripe/handle.ts';
import { listStripeEvents, replayStripeEvent } from '../../src/stripe/inbox.ts';
import { syncSubscription } from '../../src/stripe/sync.ts';
import { request, type Service } from '../stripe/harness.ts';
import {
  entriesOf,
  eventOf,
  invoicesOf,
  lost,
  post,
  priceId,
  type Scene,
  spend,
  startScene,
  subscribe,
  switchTo,
} from './scene.ts';

let scene: Scene;
let service: Service;
beforeAll(async () => {
  scene = await startScene();
  service = scene.service;
});
beforeEach(() => service.settle(lost).then(() => undefined));
afterAll(() => scene.stop());

const PRO = { plan: 'pro', credits: 100, allowance: 100 };
const PACK = { plan: 'free', credits: 55, allowance: 5, top_up: 50 };

test('a pack that is told of five times is added once, also after some of it was spent', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { pack: 'pack_50' });
  const heard = await service.settle((all) => [...all, ...all, ...all]);
  expect(await service.balance(userId)).toEqual(PACK);
  await spend(service, userId, 30);
  for (const delivery of heard) await service.receive(delivery);
  expect((await service.balance(userId)).credits).toBe(25);
});

test('the same pack bought twice is two packs', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { pack: 'pack_50' });
  await service.buy(userId, { pack: 'pack_50' });
  await service.settle((all) => [...all, ...[...all].reverse()]);
  expect(await service.balance(userId)).toEqual({ ...PACK, credits: 105, top_up: 100 });
});

test('a purchase told by its session, its invoice, its subscription, the success page and the backfill grants once', async () => {
  const userId = await service.signUp();
  const session = await service.buy(userId, { plan: 'pro' });
  await confirmCheckout(service.context, session, request('confirm'));
  await service.settle();
  await backfillEvents(service.context);
  await service.work();
  await confirmCheckout(service.context, session, request('confirm'));
  expect(await service.balance(userId)).toEqual(PRO);
  const { rows } = await service.context.pool.query(
    `select count(*) as count from ledger_entries where user_id = $1 and key like 'inv:%'`,
    [userId],
  );
  expect(Number(rows[0].count)).toBe(1);
});

test('two events with other ids about the same payment grant once', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  const [invoice] = await invoicesOf(service, userId);
  await service.settle();
  const entries = await entriesOf(service, userId);
  for (const type of ['invoice.paid', 'invoice.payment_failed', 'invoice.voided']) {
    await service.receive(eventOf(type, { id: invoice!.id, object: 'invoice' }));
  }
  expect(await entriesOf(service, userId)).toBe(entries);
  expect(await service.balance(userId)).toEqual(PRO);
});

test('ten deliveries at once over HTTP and eight handlers at once have one effect', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await service.buy(userId, { pack: 'pack_50' });
  await service.control('/delivery/settle');
  const all = service.deliveries.splice(0);
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => all).flatMap((one) => one.map((it) => post(scene.url, it))),
  );
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  service.woken.splice(0);
  const ids = all.map(({ event }) => event.id);
  await Promise.all(
    Array.from({ length: 8 }, () => ids)
      .flat()
      .map((id) => handleStripeEvent(service.context, id)),
  );
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 150, allowance: 100, top_up: 50 });
});

test('a whole inbox that is replayed by an operator changes nothing', async () => {
  const userId = await service.subscriber();
  const entries = await entriesOf(service, userId);
  const { data } = await listStripeEvents(service.context, { limit: 100 });
  for (const { id } of data) await replayStripeEvent(service.context, String(id), 'test');
  await service.work();
  expect(await entriesOf(service, userId)).toBe(entries);
});

test('credits come from the plan, not from the amount: a proration of a large amount grants the difference', async () => {
  const userId = await service.subscriber('pro');
  await switchTo(service, userId, 'team_annual', { proration_behavior: 'always_invoice' });
  await service.settle();
  const [invoice] = await invoicesOf(service, userId);
  expect(invoice!.amount_paid).toBeGreaterThan(10_000);
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
});

test('a paid invoice that is no renewal of ours grants nothing', async () => {
  const userId = await service.subscriber();
  const customer = await service.customerOf(userId);
  const { id: subscription } = await service.subscriptionOf(userId);
  const price = await priceId(service, 'pack_50');
  await service.stripe.invoiceItems.create({ customer, amount: 5000, currency: 'usd', description: 'Help' });
  await service.stripe.invoiceItems.create({ customer, pricing: { price } });
  const manual = await service.stripe.invoices.create({
    customer,
    pending_invoice_items_behavior: 'include',
  });
  await service.stripe.invoices.pay(manual.id!, { paid_out_of_band: true });
  await service.stripe.invoiceItems.create({ customer, subscription, amount: 700, currency: 'usd' });
  const ofIt = await service.stripe.invoices.create({ customer, subscription });
  await service.stripe.invoices.pay(ofIt.id!, { paid_out_of_band: true });
  await service.settle();
  expect(await service.balance(userId)).toEqual(PRO);
});

test('eight syncs that read at the same time store the newest, and grant once', async () => {
  const userId = await service.signUp();
  const { id } = await subscribe(service, userId);
  await service.settle(lost);
  await Promise.all(Array.from({ length: 8 }, () => syncSubscription(service.context, id)));
  expect(await service.balance(userId)).toEqual(PRO);
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
