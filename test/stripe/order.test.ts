// Any order, any repetition: the same history ends in the same balance (promise 4).
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { insertReconciliation, runReconciliation } from '../../src/finance/reconcile.ts';
import { readReconciliation } from '../../src/finance/runs.ts';
import { consume } from '../../src/lib/credits.ts';
import { cancelSubscription } from '../../src/stripe/billing.ts';
import { ensureCustomer } from '../../src/stripe/customers.ts';
import { handleStripeEvent } from '../../src/stripe/handle.ts';
import { syncSubscription } from '../../src/stripe/sync.ts';
import { receiveWebhook } from '../../src/stripe/webhook.ts';
import { type Delivery, request, Service, sign } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start();
});
afterAll(() => service.stop());

const ARRANGEMENTS: Record<string, (all: Delivery[]) => Delivery[]> = {
  'in order': (all) => all,
  'each twice': (all) => all.flatMap((one) => [one, one]),
  reversed: (all) => [...all].reverse(),
  'reversed, then again in order': (all) => [...[...all].reverse(), ...all],
  'invoices first': (all) => [...all].sort((a, b) => Number(isInvoice(b)) - Number(isInvoice(a))),
  'invoices last': (all) => [...all].sort((a, b) => Number(isInvoice(a)) - Number(isInvoice(b))),
};
const isInvoice = ({ event }: Delivery): boolean => event.type.startsWith('invoice.');

/** Each story is told to Stripe first; only then does the service hear of it. */
const STORIES: Record<string, { tell(userId: string): Promise<unknown>; ends: object }> = {
  'checkout and pack': {
    async tell(userId) {
      await service.buy(userId, { plan: 'pro' });
      await service.buy(userId, { pack: 'pack_50' });
    },
    ends: { plan: 'pro', credits: 150, allowance: 100, top_up: 50 },
  },
  'three renewals': {
    async tell(userId) {
      await service.buy(userId, { plan: 'pro' });
      await service.advance(95);
    },
    ends: { plan: 'pro', credits: 100, allowance: 100 },
  },
  'a failed renewal that is paid at the second try': {
    async tell(userId) {
      await service.buy(userId, { plan: 'pro' });
      await service.payments(userId, 'card_declined');
      await service.advance(32);
      await service.payments(userId, 'succeeds');
      await service.advance(4);
    },
    ends: { plan: 'pro', credits: 100, allowance: 100 },
  },
  'cancelled at once': {
    async tell(userId) {
      await service.buy(userId, { plan: 'pro' });
      const { id } = await service.subscriptionOf(userId);
      await service.stripe.subscriptions.cancel(id);
    },
    ends: { plan: 'free', credits: 0 },
  },
  'cancelled and bought again': {
    async tell(userId) {
      await service.buy(userId, { plan: 'pro' });
      const { id } = await service.subscriptionOf(userId);
      await service.stripe.subscriptions.cancel(id);
      await service.buy(userId, { plan: 'pro' });
    },
    ends: { plan: 'pro', credits: 100, allowance: 100 },
  },
};

describe.each(Object.entries(STORIES))('%s', (_name, { tell, ends }) => {
  test.each(Object.entries(ARRANGEMENTS))('%s', async (_order, arrange) => {
    const userId = await service.signUp();
    await tell(userId);
    await service.settle(arrange);
    expect(await service.balance(userId)).toEqual(ends);
    await service.settle();
    expect(await service.violations()).toEqual([]);
  });
});

test.each(Object.entries(ARRANGEMENTS))(
  'what was spent before a payment refund is settled by the renewal after it: %s',
  async (_order, arrange) => {
    const userId = await service.subscriber();
    await consume(service.context, { userId, credits: 30 }, request('consume'));
    await service.advance(1);
    const charge = (await service.stripe.charges.list({ customer: await service.customerOf(userId) }))
      .data[0]!;
    await service.stripe.refunds.create({ charge: charge.id });
    await service.advance(32);
    await service.settle(arrange);
    // 70 were left, 30 are owed, and the renewal brings 100.
    expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 70, allowance: 70 });
    const { rows } = await service.context.pool.query('select debt_tokens as debt from users where id = $1', [
      userId,
    ]);
    expect(rows).toEqual([{ debt: 0 }]);
    expect(await service.violations()).toEqual([]);
    const { runId } = await insertReconciliation(service.context, { userId });
    await runReconciliation(service.context, runId);
    expect((await readReconciliation(service.context, runId)).counts).toMatchObject({ differences: 0 });
  },
);

test('a payment refund after the renewal leaves the renewed credits alone, whatever is heard first', async () => {
  const userId = await service.subscriber();
  await consume(service.context, { userId, credits: 30 }, request('consume'));
  const charge = (await service.stripe.charges.list({ customer: await service.customerOf(userId) })).data[0]!;
  await service.advance(32);
  await service.stripe.refunds.create({ charge: charge.id });
  await service.settle((all) => [...all].reverse());
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  const { rows } = await service.context.pool.query('select debt_tokens as debt from users where id = $1', [
    userId,
  ]);
  expect(rows).toEqual([{ debt: 60_000 }]);
});

test('the second of two subscriptions waits for the end of the first, whose end is heard of late', async () => {
  const userId = await service.subscriber();
  const first = await service.subscriptionOf(userId);
  await service.stripe.subscriptions.cancel(first.id);
  await service.buy(userId, { plan: 'pro' });
  // The second is heard of while our snapshot of the first is still active.
  const late = await service.settle((all) =>
    all.filter(({ event }) => event.type !== 'customer.subscription.deleted'),
  );
  expect(late.length).toBeGreaterThan(0);
  expect(service.alerts).toContain('two_subscriptions');
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  const { data } = await service.stripe.events.list({ type: 'customer.subscription.deleted', limit: 1 });
  await service.receive(redelivered(data[0]!));
  const second = await service.subscriptionOf(userId);
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  const { rows } = await service.context.pool.query(
    `select subscription_id, remaining_tokens > 0 or voided_at is null as alive from credit_grants
     where user_id = $1 and subscription_id is not null order by id`,
    [userId],
  );
  expect(rows).toEqual([
    { subscription_id: first.id, alive: false },
    { subscription_id: second.id, alive: true },
  ]);
});

test('the second of two is heard of first, and the first ends: what was given stays', async () => {
  const { pool } = service.context;
  const other = await service.signUp();
  const customer = await ensureCustomer(service.context, other);
  const card = await service.stripe.paymentMethods.attach('pm_card_visa', { customer });
  const price = (await service.stripe.prices.list({ lookup_keys: ['pro_monthly'] })).data[0]!.id;
  const buy = () =>
    service.stripe.subscriptions.create({ customer, default_payment_method: card.id, items: [{ price }] });
  const older = await buy();
  await service.advance(1);
  const newer = await buy();
  await service.settle((all) => all.filter(({ body }) => !body.includes(older.id)));
  expect(await service.balance(other)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  await syncSubscription(service.context, older.id);
  await service.stripe.subscriptions.cancel(older.id);
  await service.settle();
  expect(await service.balance(other)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  const { rows } = await pool.query('select current_subscription_id as id from users where id = $1', [other]);
  expect(rows).toEqual([{ id: newer.id }]);
});

test('the end of a subscription that is not the current one changes nothing', async () => {
  const userId = await service.subscriber();
  const { id, customer } = await service.subscriptionOf(userId);
  const price = (await service.stripe.prices.list({ lookup_keys: ['pro_monthly'] })).data[0]!;
  const card = await service.stripe.paymentMethods.attach('pm_card_visa', { customer: String(customer) });
  const second = await service.stripe.subscriptions.create({
    default_payment_method: card.id,
    customer: String(customer),
    items: [{ price: price.id }],
  });
  await service.settle();
  await service.stripe.subscriptions.cancel(second.id);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  expect((await service.subscriptionOf(userId)).id).not.toBe(id);
  expect(await service.violations()).toEqual([]);
});

test('eight handlers at once on one event have one effect', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await service.buy(userId, { pack: 'pack_50' });
  await service.control('/delivery/settle');
  const ids = service.deliveries.map(({ event }) => event.id);
  for (const one of service.deliveries.splice(0)) {
    await receiveWebhook(service.context, one.body, one.signature);
  }
  service.woken.splice(0);
  await Promise.all([...ids, ...ids, ...ids].map((eventId) => handleStripeEvent(service.context, eventId)));
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 150, allowance: 100, top_up: 50 });
  await cancelSubscription(service.context, { userId, effective: 'now' }, request('cancel'));
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 50, top_up: 50 });
  expect(await service.violations()).toEqual([]);
});

function redelivered(event: object): Delivery {
  const body = Buffer.from(JSON.stringify(event, null, 2));
  return { body, signature: sign(body), event: event as Delivery['event'] };
}
