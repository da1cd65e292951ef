// What the billing routes do beyond the happy path: refusals, repetition, races, customers that are gone.
import Stripe from 'stripe';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEFAULT_CATALOGUE } from '../../src/domain/plans.ts';
import {
  cancelSubscription,
  confirmCheckout,
  createCheckout,
  createPortalSession,
  resumeSubscription,
} from '../../src/stripe/billing.ts';
import { ensureCustomer } from '../../src/stripe/customers.ts';
import { requirePrices } from '../../src/stripe/prices.ts';
import { request, Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start();
});
afterAll(() => service.stop());

const checkout = (input: Parameters<typeof createCheckout>[1], key?: string) =>
  createCheckout(service.context, input, request('checkout', key));

test('a start with prices that Stripe does not know is refused, each named; a Stripe that is away is not', async () => {
  await expect(requirePrices(service.context)).resolves.toBeUndefined();
  const { packs } = DEFAULT_CATALOGUE;
  const catalogue = { ...DEFAULT_CATALOGUE, packs: { ...packs, odd: { credits: 1, price: 'pack_odd' } } };
  await expect(requirePrices({ ...service.context, catalogue })).rejects.toThrow(
    'Stripe has no active price with the lookup key "pack_odd": add it there, or name another in PLANS_FILE',
  );
  const stripe = new Stripe('sk_test_away', { host: '127.0.0.1', port: 9, protocol: 'http' });
  await expect(requirePrices({ ...service.context, stripe, catalogue })).resolves.toBeUndefined();
});

test('a key that Stripe refuses stops the start', async () => {
  const { apiBase } = service.context.config.stripe;
  const { hostname, port } = new URL(String(apiBase));
  const stripe = new Stripe('not_a_key', { host: hostname, port, protocol: 'http' });
  await expect(requirePrices({ ...service.context, stripe })).rejects.toThrow(
    /^STRIPE_SECRET_KEY: Stripe refuses this key/,
  );
});

test('what cannot be sold is refused by the name of its field', async () => {
  const userId = await service.signUp();
  const refusals: [object, string][] = [
    [{}, 'plan'],
    [{ plan: 'pro', pack: 'pack_50' }, 'plan'],
    [{ plan: 'platinum' }, 'plan'],
    [{ plan: '__proto__' }, 'plan'],
    [{ plan: 'free' }, 'plan'],
    [{ plan: 'enterprise' }, 'plan'],
    [{ pack: 'pack_7' }, 'pack'],
  ];
  for (const [input, path] of refusals) {
    await expect(checkout({ userId, ...input })).rejects.toMatchObject({
      code: 'invalid_request',
      errors: [expect.objectContaining({ path })],
    });
  }
  await expect(checkout({ userId: 'nobody', plan: 'pro' })).rejects.toMatchObject({ code: 'not_found' });
});

test('the session is the user’s, with the addresses that were asked for', async () => {
  const userId = await service.signUp();
  const answer = await checkout({
    userId,
    plan: 'pro',
    successUrl: 'https://app.test/ok',
    cancelUrl: 'https://app.test/no',
  });
  expect(answer).toMatchObject({ status: 201, replayed: false });
  const session = await service.stripe.checkout.sessions.retrieve(String(answer.body.sessionId));
  expect(session).toMatchObject({
    mode: 'subscription',
    customer: await service.customerOf(userId),
    client_reference_id: userId,
    success_url: 'https://app.test/ok',
    cancel_url: 'https://app.test/no',
    url: answer.body.url,
    metadata: { tollgate_user_id: userId },
  });
  const customer = await service.stripe.customers.retrieve(await service.customerOf(userId));
  expect(customer).toMatchObject({ email: 'person@example.com', metadata: { tollgate_user_id: userId } });
});

test('a repeated key gets the same session; another request with it is refused', async () => {
  const userId = await service.signUp();
  const first = await checkout({ userId, plan: 'pro' }, 'key-1');
  const second = await checkout({ userId, plan: 'pro' }, 'key-1');
  expect(second).toEqual({ ...first, replayed: true });
  const other = { ...request('checkout', 'key-1'), hash: Buffer.alloc(16) };
  const reused = createCheckout(service.context, { userId, pack: 'pack_50' }, other);
  await expect(reused).rejects.toMatchObject({ code: 'idempotency_key_reused' });
});

test('a refused attempt gives its key back', async () => {
  const userId = await service.subscriber();
  await expect(checkout({ userId, plan: 'pro' }, 'again')).rejects.toMatchObject({ code: 'conflict' });
  await cancelSubscription(service.context, { userId, effective: 'now' }, request('cancel'));
  expect(await checkout({ userId, plan: 'pro' }, 'again')).toMatchObject({ status: 201 });
});

test('a new session for a plan closes the one before: two tabs cannot both pay', async () => {
  const userId = await service.signUp();
  const first = await service.checkout(userId, { plan: 'pro' });
  const pack = await service.checkout(userId, { pack: 'pack_50' });
  const second = await service.checkout(userId, { plan: 'pro' });
  const status = async (id: string) => (await service.stripe.checkout.sessions.retrieve(id)).status;
  expect(await Promise.all([first, pack, second].map(status))).toEqual(['expired', 'open', 'open']);
});

test('of many checkouts at once one customer and one open session are left', async () => {
  const userId = await service.signUp();
  const results = await Promise.allSettled(
    Array.from({ length: 6 }, () => checkout({ userId, plan: 'pro' })),
  );
  for (const result of results) {
    if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'conflict' });
  }
  const customer = await service.customerOf(userId);
  const { data } = await service.stripe.checkout.sessions.list({ customer, status: 'open' });
  expect(data).toHaveLength(1);
  const customers = await service.stripe.customers.list({ limit: 100 });
  expect(customers.data.filter(({ metadata }) => metadata.tollgate_user_id === userId)).toHaveLength(1);
});

test('a process that died after making the session finds it again', async () => {
  const userId = await service.signUp();
  const first = await checkout({ userId, plan: 'pro' }, 'died');
  // Its answer was never stored, and its leases are over.
  await service.context.pool.query(
    `update idempotency_records set status = null, body = null, lease_until = '2000-01-01' where user_id = $1`,
    [userId],
  );
  const second = await checkout({ userId, plan: 'pro' }, 'died');
  expect(second).toMatchObject({ body: first.body, replayed: false });
  expect((await service.stripe.checkout.sessions.retrieve(String(first.body.sessionId))).status).toBe('open');
});

test('a process that died after making the customer finds it again', async () => {
  const userId = await service.signUp();
  const made = await ensureCustomer(service.context, userId);
  // It had no time to bind it.
  const { pool } = service.context;
  await pool.query('delete from stripe_customers where id = $1', [made]);
  await pool.query('update users set stripe_customer_id = null where id = $1', [userId]);
  expect(await ensureCustomer(service.context, userId)).toBe(made);
});

test('a customer that was deleted in Stripe is tombstoned, and the user can buy again', async () => {
  const userId = await service.subscriber();
  const gone = await service.customerOf(userId);
  await service.stripe.customers.del(gone);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 0 });
  await service.buy(userId, { plan: 'pro' });
  await service.settle();
  expect(await service.customerOf(userId)).not.toBe(gone);
  expect(await service.balance(userId)).toMatchObject({ plan: 'pro', credits: 100 });
});

test('a session that is not ours cannot be confirmed', async () => {
  const price = (await service.stripe.prices.list({ lookup_keys: ['pro_monthly'] })).data[0]!;
  const foreign = await service.stripe.checkout.sessions.create({
    mode: 'subscription',
    line_items: [{ price: price.id, quantity: 1 }],
    client_reference_id: await service.signUp(),
    success_url: 'https://app.test/ok',
  });
  for (const id of [foreign.id, 'cs_test_none']) {
    await expect(confirmCheckout(service.context, id, request('confirm'))).rejects.toMatchObject({
      code: 'not_found',
    });
  }
});

test('an open session confirms to nothing yet', async () => {
  const userId = await service.signUp();
  const sessionId = await service.checkout(userId, { pack: 'pack_50' });
  const answer = await confirmCheckout(service.context, sessionId, request('confirm'));
  expect(answer.body).toMatchObject({ status: 'open', paymentStatus: 'unpaid', plan: 'free', credits: 5 });
});

test('a delayed payment grants when it has arrived, and not before', async () => {
  const userId = await service.signUp();
  const sessionId = await service.buy(userId, { pack: 'pack_50' }, 'async_succeeds');
  await service.settle((all) => all.filter(({ event }) => event.type === 'checkout.session.completed'));
  await service.advance(10);
  await service.settle();
  await confirmCheckout(service.context, sessionId, request('confirm'));
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 55, allowance: 5, top_up: 50 });
});

test('the portal opens with a configuration of our own, made once', async () => {
  const userId = await service.signUp();
  for (let time = 0; time < 2; time++) {
    const answer = await createPortalSession(service.context, { userId }, request('portal'));
    expect(answer).toMatchObject({ status: 201, body: { url: expect.stringMatching(/^http/) } });
  }
  const { data } = await service.stripe.billingPortal.configurations.list({ limit: 100 });
  expect(data.filter(({ metadata }) => metadata?.tollgate_portal !== undefined)).toHaveLength(1);
});

test('a cancellation set in the Portal (cancel_at alone) is seen and can be taken back', async () => {
  const userId = await service.subscriber();
  const { id, items } = await service.subscriptionOf(userId);
  await service.stripe.subscriptions.update(id, { cancel_at: items.data[0]!.current_period_end });
  await service.settle();
  const { body } = await resumeSubscription(service.context, { userId }, request('resume'));
  expect(body).toMatchObject({ plan: 'pro', status: 'active', cancelAt: null });
  expect((await service.subscriptionOf(userId)).cancel_at).toBeNull();
});

test('nothing to cancel or resume is a conflict, and nobody is not found', async () => {
  const userId = await service.signUp();
  for (const work of [
    () => cancelSubscription(service.context, { userId, effective: 'now' }, request('cancel')),
    () => resumeSubscription(service.context, { userId }, request('resume')),
  ]) {
    await expect(work()).rejects.toMatchObject({ code: 'conflict' });
  }
  const nobody = cancelSubscription(
    service.context,
    { userId: 'nobody', effective: 'now' },
    request('cancel'),
  );
  await expect(nobody).rejects.toMatchObject({ code: 'not_found' });
});
