// What Stripe can do that a normal subscriber never sees.
import type Stripe from 'stripe';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { backfillEvents } from '../../src/stripe/backfill.ts';
import { ensureCustomer } from '../../src/stripe/customers.ts';
import { Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start();
});
beforeEach(() => {
  service.alerts.splice(0);
});
afterAll(() => service.stop());

const priceId = async (lookupKey: string): Promise<string> =>
  (await service.stripe.prices.list({ lookup_keys: [lookupKey] })).data[0]!.id;

/** A subscription made in the Dashboard, not through our Checkout. */
async function subscribe(
  userId: string,
  params: Partial<Stripe.SubscriptionCreateParams> = {},
): Promise<Stripe.Subscription> {
  const customer = await ensureCustomer(service.context, userId);
  const card = await service.stripe.paymentMethods.attach('pm_card_visa', { customer });
  return service.stripe.subscriptions.create({
    customer,
    default_payment_method: card.id,
    items: [{ price: await priceId('pro_monthly') }],
    ...params,
  });
}

test('a trial gives the allowance once; its first payment gives the next; a second trial gives none', async () => {
  const userId = await service.signUp();
  const first = await subscribe(userId, { trial_period_days: 14 });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  await service.advance(16);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  await service.stripe.subscriptions.cancel(first.id);
  await service.settle();
  await subscribe(userId, { trial_period_days: 14 });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 0 });
});

test('quantity multiplies', async () => {
  const userId = await service.signUp();
  await subscribe(userId, { items: [{ price: await priceId('pro_monthly'), quantity: 3 }] });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 300, allowance: 300 });
});

test('a price that is not in the catalogue gives nothing and takes nothing away', async () => {
  const userId = await service.signUp();
  const other = await service.stripe.prices.create({
    currency: 'usd',
    unit_amount: 900,
    recurring: { interval: 'month' },
    product_data: { name: 'Another product' },
  });
  await subscribe(userId, { items: [{ price: other.id }] });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
  expect(service.alerts).toContain('unknown_price');
});

test('a lookup key that has moved to a newer price leaves those who pay the old one alone', async () => {
  const own = await Service.start();
  try {
    const userId = await own.subscriber();
    const old = (await own.stripe.prices.list({ lookup_keys: ['pro_monthly'] })).data[0]!;
    await own.stripe.prices.create({
      currency: 'usd',
      unit_amount: 3000,
      recurring: { interval: 'month' },
      product: String(old.product),
      lookup_key: 'pro_monthly',
      transfer_lookup_key: true,
    });
    await own.advance(32);
    await own.settle();
    expect(await own.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
    expect(own.alerts).toEqual([]);
  } finally {
    await own.stop();
  }
});

test('a first payment that fails gives nothing', async () => {
  const userId = await service.signUp();
  await ensureCustomer(service.context, userId);
  await service.payments(userId, 'card_declined');
  await subscribe(userId);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
  await service.payments(userId, 'succeeds');
  const { latest_invoice: invoice } = await service.subscriptionOf(userId);
  await service.stripe.invoices.pay(String(invoice));
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('from month to year in the Dashboard: the year is paid for, month by month', async () => {
  const userId = await service.subscriber();
  const { id, items } = await service.subscriptionOf(userId);
  await service.advance(10);
  await service.stripe.subscriptions.update(id, {
    items: [{ id: items.data[0]!.id, price: await priceId('pro_annual') }],
    proration_behavior: 'always_invoice',
  });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  await service.advance(200);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('more seats inside a month are filled up once, whatever the changes', async () => {
  const userId = await service.subscriber();
  const { id, items } = await service.subscriptionOf(userId);
  await service.advance(10);
  for (const quantity of [3, 1, 3]) {
    await service.stripe.subscriptions.update(id, {
      items: [{ id: items.data[0]!.id, quantity }],
      proration_behavior: 'always_invoice',
    });
    await service.advance(0.01);
  }
  await service.settle((all) => [...all, ...all]);
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 300, allowance: 300 });
  await service.advance(25);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 300, allowance: 300 });
});

test('seats that are added twice in one second are both there', async () => {
  const userId = await service.subscriber();
  const { id, items } = await service.subscriptionOf(userId);
  for (const quantity of [2, 3]) {
    await service.stripe.subscriptions.update(id, {
      items: [{ id: items.data[0]!.id, quantity }],
      proration_behavior: 'always_invoice',
    });
  }
  await service.advance(10);
  for (const quantity of [4, 5]) {
    await service.stripe.subscriptions.update(id, {
      items: [{ id: items.data[0]!.id, quantity }],
      proration_behavior: 'always_invoice',
    });
  }
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 500, allowance: 500 });
});

test('lines behind the first ten of an invoice, and invoices behind the first page, are read as well', async () => {
  const own = await Service.start();
  try {
    const userId = await own.subscriber();
    const customer = await own.customerOf(userId);
    const { id: subscription } = await own.subscriptionOf(userId);
    for (let extra = 1; extra <= 12; extra++) {
      await own.stripe.invoiceItems.create({ customer, subscription, amount: extra, currency: 'usd' });
    }
    await own.advance(24 * 31);
    // Of two years one event is heard, the last.
    await own.settle((all) => all.filter(({ event }) => event.type === 'invoice.paid').slice(-1));
    const { rows } = await own.context.pool.query(
      `select count(*) as lines, count(distinct payment_id) as invoices from paid_lines where user_id = $1`,
      [userId],
    );
    expect(rows).toEqual([{ lines: 25 + 12, invoices: 25 }]);
    expect(await own.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  } finally {
    await own.stop();
  }
}, 60_000);

test('chaos: shuffled, doubled, a third of it lost, and healed by the backfill', async () => {
  const own = await Service.start();
  try {
    await backfillEvents(own.context);
    await own.control('/delivery', { seed: 7, shuffle: true, duplicateRate: 0.5, dropRate: 0.33 });
    const users = await Promise.all(Array.from({ length: 6 }, () => own.signUp()));
    for (const [index, userId] of users.entries()) {
      await own.buy(userId, { plan: 'pro' });
      if (index % 2 === 0) await own.buy(userId, { pack: 'pack_50' });
      if (index === 3) await own.payments(userId, 'card_declined');
    }
    for (let stretch = 0; stretch < 4; stretch++) {
      await own.advance(25);
      await own.settle();
      // As every five minutes; Stripe's list reaches back 30 days.
      await backfillEvents(own.context);
      await own.work();
    }
    for (const [index, userId] of users.entries()) {
      const expected =
        index === 3 ? { plan: 'free', credits: 5 } : { plan: 'pro', credits: index % 2 === 0 ? 150 : 100 };
      expect(await own.balance(userId)).toMatchObject(expected);
    }
    expect(await own.violations()).toEqual([]);
  } finally {
    await own.stop();
  }
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
