// The payload of an event has the version of its endpoint, not ours, and may be days old: only ids are read from it, so
// every version leads to the same state (docs/decisions/0004).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Delivery, type Service, sign } from '../stripe/harness.ts';
import { chargeOf, eventOf, invoicesOf, lost, post, refund, type Scene, startScene } from './scene.ts';

let scene: Scene;
let service: Service;
beforeAll(async () => {
  scene = await startScene();
  service = scene.service;
});
beforeEach(() => service.settle(lost).then(() => undefined));
afterAll(() => scene.stop());

const VERSIONS = [
  '2014-11-05',
  '2020-08-27',
  '2022-11-15',
  '2024-06-20',
  '2025-02-24.acacia',
  '2025-08-27.basil',
  '2025-11-17.clover',
  '2026-03-25.dahlia',
  '2027-06-30.fern',
];
const FREE = { plan: 'free', credits: 5, allowance: 5 };
const PRO = { plan: 'pro', credits: 100, allowance: 100 };

/** As payloads were before basil: what we read elsewhere is here, and lies. */
const oldInvoice = (id: string, customer: unknown, subscription: string) => ({
  id,
  object: 'invoice',
  customer,
  subscription,
  charge: 'ch_of_old',
  payment_intent: 'pi_of_old',
  paid: true,
  status: 'paid',
  billing_reason: 'subscription_cycle',
  amount_paid: 9_999_999,
  total: '9999999',
  lines: {
    object: 'list',
    data: [
      {
        id: 'il_of_old',
        amount: 9_999_999,
        proration: false,
        plan: { id: 'gold', amount: 9_999_999 },
        price: { id: 'price_gold', lookup_key: 'team_monthly', unit_amount_decimal: '9999999' },
        period: { start: 1, end: 2 },
        quantity: 50,
        subscription,
      },
    ],
  },
});
const oldSubscription = (id: string, customer: unknown, status: string) => ({
  id,
  object: 'subscription',
  customer,
  status,
  current_period_start: 1_500_000_000,
  current_period_end: 1_600_000_000,
  cancel_at_period_end: true,
  plan: { id: 'gold', interval: 'year' },
  quantity: 50,
  items: { object: 'list', data: [{ id: 'si_of_old', plan: { id: 'gold' }, quantity: 50 }] },
});

describe.each(VERSIONS)('at %s', (version) => {
  const at = (type: string, object: Record<string, unknown>): Delivery =>
    eventOf(type, object, { api_version: version });
  const expanded = async (userId: string) => ({ id: await service.customerOf(userId), object: 'customer' });

  test('an invoice buys what Stripe says now, and no more', async () => {
    const userId = await service.signUp();
    await service.buy(userId, { plan: 'pro' });
    const { id } = await service.subscriptionOf(userId);
    const [invoice] = await invoicesOf(service, userId);
    await service.settle(lost);
    await service.receive(at('invoice.paid', oldInvoice(invoice!.id!, await service.customerOf(userId), id)));
    await service.receive(at('invoice.paid', oldInvoice(invoice!.id!, await expanded(userId), id)));
    expect(await service.balance(userId)).toEqual(PRO);
  });

  test('a subscription is what it is now, whatever the payload says', async () => {
    const userId = await service.signUp();
    await service.buy(userId, { plan: 'pro' });
    const { id } = await service.subscriptionOf(userId);
    await service.settle(lost);
    const customer = await service.customerOf(userId);
    await service.receive(at('customer.subscription.created', oldSubscription(id, customer, 'incomplete')));
    expect(await service.balance(userId)).toEqual(PRO);
    await service.receive(at('customer.subscription.deleted', oldSubscription(id, customer, 'canceled')));
    expect(await service.balance(userId)).toEqual(PRO);
    await service.stripe.subscriptions.cancel(id);
    await service.settle(lost);
    await service.receive(at('customer.subscription.updated', oldSubscription(id, customer, 'active')));
    expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 0 });
  });

  test('a refund takes what Stripe says now', async () => {
    const userId = await service.subscriber();
    await refund(service, userId, 500);
    const { id } = await chargeOf(service, userId);
    await service.settle(lost);
    const charge = {
      id,
      object: 'charge',
      customer: await service.customerOf(userId),
      invoice: 'in_of_old',
      amount_refunded: 2000,
      refunds: { data: [{ id: 're_of_old', amount: 2000 }] },
    };
    await service.receive(at('charge.refunded', charge));
    await service.receive(at('charge.refunded', charge));
    expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 75, allowance: 75 });
  });
});

test('an event without version, of Connect, or with fields of tomorrow is read by its ids', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  const [invoice] = await invoicesOf(service, userId);
  await service.settle(lost);
  const object = { id: invoice!.id, object: 'invoice', tomorrow: [{ deep: null }] };
  const more = { api_version: null, context: 'acct_1', request: 'req_of_2015', reason: { type: 'x' } };
  await service.receive(eventOf('invoice.paid', object, more));
  expect(await service.balance(userId)).toEqual(PRO);
});

test.each([
  ['v1.invoice.paid', 'in_1'],
  ['v2.core.account.updated', 'acct_1'],
])('a thin event (%s) is refused, and nothing is kept of it', async (type, id) => {
  const userId = await service.signUp();
  const thin = {
    id: 'evt_test_thin',
    object: 'v2.core.event',
    type,
    livemode: false,
    created: '2026-11-22T00:00:00.000Z',
    related_object: { id, type: 'invoice', url: `/v1/invoices/${id}` },
    snapshot_event: 'evt_1',
  };
  const body = Buffer.from(JSON.stringify(thin));
  const answer = await post(scene.url, { body, signature: sign(body) });
  expect(answer.status).toBe(400);
  expect(await answer.json()).toMatchObject({ code: 'invalid_request' });
  const { rows } = await service.context.pool.query(
    `select count(*) as count from stripe_events where id = 'evt_test_thin'`,
  );
  expect(Number(rows[0].count)).toBe(0);
  expect(await service.balance(userId)).toEqual(FREE);
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
