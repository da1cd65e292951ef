// Every enum of Stripe may grow: a word that we do not know gives nothing, takes nothing away that was given, and an
// operator hears of it (stripe.md A1).
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Service } from '../stripe/harness.ts';
import { editedStripe } from '../support/edited-stripe.ts';
import { dispute, eventOf, lost, priceId, refund, type Scene, startScene, subscribe } from './scene.ts';

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

const FREE = { plan: 'free', credits: 5, allowance: 5 };
const PRO = { plan: 'pro', credits: 100, allowance: 100 };

/** What has happened is heard of with other words. */
async function hear(
  userId: string,
  edit: Parameters<typeof editedStripe>[1],
  expected: object,
  alert: string | null,
): Promise<void> {
  const { context } = service;
  service.context = { ...context, stripe: editedStripe(service.sandbox.url, edit) };
  await service.settle((all) => [...all, ...all]);
  service.context = context;
  expect(await service.balance(userId)).toEqual(expected);
  expect([...new Set(service.alerts)]).toEqual(alert === null ? [] : [alert]);
  expect(await service.violations()).toEqual([]);
}

test('a status of a subscription', async () => {
  const userId = await service.signUp();
  const { id } = await subscribe(service, userId);
  await hear(
    userId,
    (path, body) => {
      if (path === `/v1/subscriptions/${id}`) body.status = 'hibernating';
    },
    // What was paid is kept; the plan is not given.
    { plan: 'free', credits: 100, allowance: 100 },
    'unknown_status',
  );
  service.alerts.splice(0);
  await service.stripe.subscriptions.update(id, { metadata: { touched: 'yes' } });
  await hear(userId, () => undefined, PRO, null);
});

test('a status of an invoice is not "paid"', async () => {
  const userId = await service.signUp();
  const { latest_invoice: invoice } = await subscribe(service, userId);
  await hear(
    userId,
    (path, body) => {
      if (path === `/v1/invoices/${invoice}`) body.status = 'settled_elsewhere';
    },
    { plan: 'pro', credits: 0 },
    null,
  );
});

test('a billing reason', async () => {
  const userId = await service.signUp();
  const { latest_invoice: invoice } = await subscribe(service, userId);
  await hear(
    userId,
    (path, body) => {
      if (path === `/v1/invoices/${invoice}`) body.billing_reason = 'subscription_gift';
    },
    { plan: 'pro', credits: 0 },
    'unknown_billing_reason',
  );
});

test('a payment status of a session is not "paid"', async () => {
  const userId = await service.signUp();
  const session = await service.buy(userId, { pack: 'pack_50' });
  await hear(
    userId,
    (path, body) => {
      if (path === `/v1/checkout/sessions/${session}`) body.payment_status = 'on_its_way';
    },
    FREE,
    'unknown_payment_status',
  );
});

test('a mode of a session', async () => {
  const userId = await service.signUp();
  const session = await service.buy(userId, { pack: 'pack_50' });
  await hear(
    userId,
    (path, body) => {
      if (path === `/v1/checkout/sessions/${session}`) body.mode = 'barter';
    },
    FREE,
    null,
  );
});

test('a status of a dispute counts as money that is out', async () => {
  const userId = await service.subscriber();
  const id = await dispute(service, userId);
  await hear(
    userId,
    (path, body) => {
      if (path === '/v1/disputes') for (const one of body.data) if (one.id === id) one.status = 'arbitration';
    },
    { plan: 'pro', credits: 0 },
    null,
  );
});

test('a status of a refund is no refund yet', async () => {
  const userId = await service.subscriber();
  const { id } = await refund(service, userId);
  await hear(
    userId,
    (path, body) => {
      if (path === '/v1/refunds') for (const one of body.data) if (one.id === id) one.status = 'reviewed';
    },
    PRO,
    null,
  );
});

test('a price of no catalogue', async () => {
  const userId = await service.subscriber();
  const { id, items } = await service.subscriptionOf(userId);
  const other = await service.stripe.prices.create({
    currency: 'usd',
    unit_amount: 100,
    recurring: { interval: 'month' },
    product_data: { name: 'Elsewhere' },
  });
  await service.stripe.subscriptions.update(id, {
    items: [{ id: items.data[0]!.id, price: other.id }],
    proration_behavior: 'always_invoice',
  });
  await service.settle();
  expect(await service.balance(userId)).toEqual(PRO);
  expect(service.alerts).toContain('unknown_price_line');
  await service.stripe.subscriptions.update(id, {
    items: [{ id: items.data[0]!.id, price: await priceId(service, 'team_monthly') }],
    proration_behavior: 'always_invoice',
  });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
});

test('a type of event is kept, counted and ignored', async () => {
  const userId = await service.subscriber();
  await service.receive(eventOf('invoice.paid_twice_over', { id: 'in_1', object: 'invoice' }));
  expect(await service.balance(userId)).toEqual(PRO);
  const { rows } = await service.context.pool.query(
    `select status from stripe_events where type = 'invoice.paid_twice_over'`,
  );
  expect(rows).toEqual([{ status: 'ignored' }]);
});
