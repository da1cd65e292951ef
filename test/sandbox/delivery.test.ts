import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Harness, Receiver, startHarness, subscribe } from './harness.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  expect(harness.receiver.rejected).toEqual([]);
  await harness.stop();
  expect(harness.errors).toEqual([]);
});

const customers = async (count: number) => {
  for (let index = 0; index < count; index += 1) await harness.stripe.customers.create({ name: `c${index}` });
};
const names = () => harness.receiver.events.map((event) => (event.data.object as { name?: string }).name);

test('a delivery that the receiver refuses is tried again after five minutes, then thirty', async () => {
  const { receiver, stripe } = harness;
  receiver.failures = 2;
  await customers(1);
  expect(await harness.control('/delivery/settle')).toMatchObject({
    delivered: 0,
    failed: 1,
    dropped: 0,
    pending: 0,
  });
  const [event] = (await stripe.events.list({ delivery_success: false })).data;
  expect(event).toMatchObject({ type: 'customer.created', pending_webhooks: 1 });
  await harness.advance(300);
  expect(receiver.events).toEqual([]);
  await harness.advance(1700);
  expect(receiver.events).toEqual([]);
  await harness.advance(100);
  expect(receiver.events.map((one) => one.id)).toEqual([event!.id]);
  expect((await stripe.events.retrieve(event!.id)).pending_webhooks).toBe(0);
  expect((await stripe.events.list({ delivery_success: false })).data).toEqual([]);
});

test('an endpoint that is down gets the event once it is up, and after three days no more', async () => {
  const { stripe } = harness;
  const late = new Receiver();
  const url = await late.start(stripe);
  await late.stop();
  await stripe.webhookEndpoints.create({ url, enabled_events: ['customer.created'] });
  await customers(1);
  const totals = await harness.advance(4 * 86_400);
  // At 0, 5 m, 30 m, 2 h, 5 h and 10 h, then every 12 hours.
  expect(totals.failed).toBe(10);
  expect(await harness.advance(10 * 86_400)).toMatchObject({ failed: 10 });
});

test('an endpoint hears only the types it enabled, signed with the secret it was given', async () => {
  const { stripe } = harness;
  const second = new Receiver();
  const url = await second.start(stripe);
  const endpoint = await stripe.webhookEndpoints.create({ url, enabled_events: ['product.created'] });
  expect(endpoint.secret).toMatch(/^whsec_/);
  expect(await stripe.webhookEndpoints.retrieve(endpoint.id)).not.toHaveProperty('secret');
  await stripe.products.create({ name: 'P' });
  await customers(1);
  await harness.control('/delivery/settle');
  // One event, and signed with its own secret, which the receiver of the harness does not know.
  expect([second.events.length, second.rejected.length]).toEqual([0, 1]);
  await stripe.webhookEndpoints.del(endpoint.id);
  await stripe.products.create({ name: 'Q' });
  await harness.control('/delivery/settle');
  expect(second.rejected).toHaveLength(1);
  await second.stop();
});

test('events can be listed by type, read and sent again', async () => {
  const { stripe, receiver } = harness;
  await subscribe(harness);
  const listed = await stripe.events.list({
    types: ['invoice.paid', 'customer.subscription.created'],
    limit: 100,
  });
  expect(listed.data.map((event) => event.type)).toEqual(['invoice.paid', 'customer.subscription.created']);
  const family = await stripe.events.list({ type: 'invoice.*', limit: 100 });
  expect(family.data.map((event) => event.type)).toContain('invoice.finalized');
  const paid = await stripe.events.retrieve(listed.data[0]!.id);
  expect(paid).toMatchObject({ object: 'event', api_version: '2026-10-28.endive', livemode: false });
  receiver.take();
  await stripe.rawRequest('POST', `/v1/events/${paid.id}/retry`);
  await harness.control('/delivery/settle');
  expect(receiver.events.map((event) => event.id)).toEqual([paid.id]);
  await harness.advance(31 * 86_400);
  expect(
    (await stripe.events.list({ type: 'invoice.finalized', created: { lte: paid.created } })).data,
  ).toEqual([]);
});

test('an event carries the request and the idempotency key that caused it', async () => {
  const { stripe } = harness;
  const customer = await stripe.customers.create({ name: 'x' }, { idempotencyKey: 'why' });
  const [event] = (await stripe.events.list()).data;
  expect(event!.request).toEqual({ id: customer.lastResponse.requestId, idempotency_key: 'why' });
});

test('one seed shuffles, repeats and loses the same events every time, and lost ones stay listed', async () => {
  const run = async () => {
    await harness.control('/reset');
    await harness.control('/delivery', {
      seed: 11,
      shuffle: true,
      duplicateRate: 0.3,
      dropRate: 0.3,
      paused: true,
    });
    await customers(20);
    expect(await harness.control('/delivery/settle')).toMatchObject({ pending: 0, held: 20 });
    expect(harness.receiver.events).toEqual([]);
    await harness.control('/delivery', { paused: false });
    const totals = await harness.control('/delivery/settle');
    const seen = names();
    harness.receiver.take();
    return { totals, seen };
  };
  const first = await run();
  expect(await run()).toEqual(first);
  const unique = new Set(first.seen);
  expect(first.totals.dropped).toBe(20 - unique.size);
  expect(first.seen.length).toBeGreaterThan(unique.size);
  expect(first.seen).not.toEqual([...first.seen].sort());
  expect((await harness.stripe.events.list({ limit: 100, type: 'customer.created' })).data).toHaveLength(20);
});

test('a stale delivery shows the object as an earlier event showed it', async () => {
  const { stripe, receiver } = harness;
  const customer = await stripe.customers.create({ name: 'old' });
  await harness.control('/delivery/settle');
  receiver.take();
  await harness.control('/delivery', { staleRate: 1 });
  await stripe.customers.update(customer.id, { name: 'new' });
  await harness.control('/delivery/settle');
  expect(receiver.types).toEqual(['customer.updated']);
  expect(names()).toEqual(['old']);
});
