import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import type Stripe from 'stripe';
import { afterEach, expect, test } from 'vitest';
import { Clock } from '../../../src/sandbox/clock.ts';
import { Deliverer } from '../../../src/sandbox/delivery.ts';
import { World } from '../../../src/sandbox/world.ts';
import { DAY, HOUR, iso, receiver, SECRET, seconds, start } from './support.ts';

const NOW = '2027-01-31T12:00:00.000Z';

interface Heard {
  headers: IncomingHttpHeaders;
  body: string;
  event: Stripe.Event;
}
const closes: (() => void)[] = [];
afterEach(() => {
  for (const close of closes.splice(0)) close();
});

/** Keeps what it hears to the letter, and answers what `status` says. */
async function listener() {
  const heard: Heard[] = [];
  const made = { heard, url: '', status: 200 };
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      heard.push({ headers: request.headers, body, event: JSON.parse(body) as Stripe.Event });
      response.writeHead(made.status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  made.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  closes.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return made;
}

const signed = (secret: string, { body, headers }: Heard): boolean => {
  const [, timestamp, ...signatures] = String(headers['stripe-signature']).split(/[=,](?:v1=)?/);
  const mac = createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
  return signatures.includes(mac);
};

test('while a secret rolls both sign; then only the new one', async () => {
  const { stripe, control } = await start(NOW);
  const target = await listener();
  const endpoint = await stripe.webhookEndpoints.create({ url: target.url, enabled_events: ['*'] });
  const old = endpoint.secret!;
  const rolled = await control(`/webhook_endpoints/${endpoint.id}/roll`, { expiresInSeconds: HOUR });
  expect(rolled).toMatchObject({ id: endpoint.id, previousSecretExpiresAt: '2027-01-31T13:00:00.000Z' });
  const secret = String(rolled.secret);
  expect(secret).not.toBe(old);
  await stripe.customers.create();
  await control('/clock/advance', { seconds: HOUR });
  await stripe.customers.create();
  await control('/delivery/settle');
  expect(target.heard.map((one) => [signed(secret, one), signed(old, one)])).toEqual([
    [true, true],
    [true, false],
  ]);
  const [first] = target.heard;
  for (const each of [secret, old])
    expect(
      stripe.webhooks.constructEvent(first!.body, String(first!.headers['stripe-signature']), each, 0).type,
    ).toBe('customer.created');
  await expect(control('/webhook_endpoints/we_none/roll')).rejects.toMatchObject({ status: 404 });
});

test("the envelope names the endpoint's version, or the account's; a disabled endpoint hears nothing", async () => {
  const { stripe, control } = await start(NOW);
  const older = await listener();
  const plain = await listener();
  const versioned = await stripe.webhookEndpoints.create({
    url: older.url,
    enabled_events: ['customer.created'],
    api_version: '2025-09-30.clover',
  });
  const unversioned = await stripe.webhookEndpoints.create({ url: plain.url, enabled_events: ['*'] });
  expect([versioned.api_version, unversioned.api_version]).toEqual(['2025-09-30.clover', null]);
  const customer = await stripe.customers.create({}, { idempotencyKey: 'why' });
  await control('/delivery/settle');
  expect(older.heard[0]!.event).toMatchObject({ api_version: '2025-09-30.clover', pending_webhooks: 2 });
  expect(plain.heard[0]!.event).toMatchObject({
    api_version: '2026-10-28.endive',
    request: { id: customer.lastResponse.requestId, idempotency_key: 'why' },
  });
  await stripe.webhookEndpoints.update(versioned.id, { disabled: true });
  await stripe.customers.create();
  await control('/delivery/settle');
  expect([older.heard.length, plain.heard.length]).toEqual([1, 2]);
});

test('previous_attributes hold the old values of what changed and nothing else', async () => {
  const { stripe, price } = await start(NOW);
  const customer = await stripe.customers.create({ source: 'tok_visa', metadata: { kept: '1', old: '2' } });
  const previous = async (type: string) =>
    (await stripe.events.list({ type })).data[0]!.data.previous_attributes;
  await stripe.customers.update(customer.id, { name: 'Ada', metadata: { old: '3', new: '4' } });
  expect(await previous('customer.updated')).toEqual({ name: null, metadata: { old: '2', new: null } });
  const events = await stripe.events.list({ type: 'customer.updated' });
  await stripe.customers.update(customer.id, { name: 'Ada' });
  expect((await stripe.events.list({ type: 'customer.updated' })).data).toEqual(events.data);
  const subscription = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await price('pro_monthly'), quantity: 1 }],
  });
  await stripe.subscriptions.update(subscription.id, {
    items: [{ id: subscription.items.data[0]!.id, quantity: 2 }],
    proration_behavior: 'none',
  });
  const changed = (await previous('customer.subscription.updated')) as Record<string, unknown>;
  expect(Object.keys(changed).toSorted()).toEqual(['items', 'quantity']);
  expect(changed.quantity).toBe(1);
  expect(Object.keys(changed.items as object)).toEqual(['data']);
});

test('the retry schedule is as it was told to be', async () => {
  const { stripe, control } = await start(NOW);
  const target = await listener();
  target.status = 500;
  await stripe.webhookEndpoints.create({ url: target.url, enabled_events: ['customer.created'] });
  // As Stripe's own sandboxes: three tries in a few hours.
  await control('/delivery', { retryDelaysSeconds: [HOUR, 2 * HOUR], maxAttempts: 3 });
  await stripe.customers.create();
  await control('/clock/advance', { seconds: DAY });
  expect(target.heard).toHaveLength(3);
  expect(new Set(target.heard.map(({ event }) => event.id)).size).toBe(1);
  const [event] = (await stripe.events.list({ delivery_success: false })).data;
  expect(event).toMatchObject({ pending_webhooks: 1 });
  target.status = 204;
  const [endpoint] = (await stripe.webhookEndpoints.list()).data;
  await stripe.rawRequest('POST', `/v1/events/${event!.id}/retry`, { webhook_endpoint: endpoint!.id });
  await control('/delivery/settle');
  expect(target.heard).toHaveLength(4);
  expect((await stripe.events.list({ delivery_success: false })).data).toEqual([]);
  expect((await stripe.events.list({ delivery_success: true })).data[0]).toMatchObject({
    pending_webhooks: 0,
  });
  await control('/delivery', { retryDelaysSeconds: [], maxAttempts: null });
  target.status = 302;
  await stripe.customers.create();
  expect(await control('/clock/advance', { seconds: 5 * DAY })).toMatchObject({ failed: 4 });
});

test('a renewal waits an hour for the 2xx to invoice.created, and three days without it', async () => {
  const { stripe, control, price } = await start(NOW);
  const target = await listener();
  await stripe.webhookEndpoints.create({ url: target.url, enabled_events: ['invoice.created'] });
  const customer = await stripe.customers.create({ source: 'tok_visa' });
  const { id } = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await price('pro_monthly') }],
  });
  const latest = async () => (await stripe.invoices.list({ subscription: id })).data[0]!;
  const times = ({
    created,
    webhooks_delivered_at: at,
    status_transitions: { finalized_at: end },
  }: Stripe.Invoice) => [created, at ?? 0, end ?? 0].map(iso);
  await control('/clock/advance', { to: '2027-02-28T13:00:00Z' });
  expect(times(await latest())).toEqual([
    '2027-02-28T12:00:00.000Z',
    '2027-02-28T12:00:00.000Z',
    '2027-02-28T13:00:00.000Z',
  ]);
  // Refused for a while: an hour after the retry that was taken.
  target.status = 500;
  await control('/clock/advance', { to: '2027-03-31T12:00:00Z' });
  target.status = 200;
  await control('/clock/advance', { to: '2027-04-01T12:00:00Z' });
  expect(times(await latest())).toEqual([
    '2027-03-31T12:00:00.000Z',
    '2027-03-31T12:05:00.000Z',
    '2027-03-31T13:05:00.000Z',
  ]);
  target.status = 500;
  await control('/clock/advance', { to: '2027-05-02T12:00:00Z' });
  expect((await latest()).status).toBe('draft');
  await control('/clock/advance', { to: '2027-05-03T12:00:00Z' });
  expect(times(await latest())[2]).toBe('2027-05-03T12:00:00.000Z');
  expect((await latest()).status).toBe('paid');
});

test('events are listed by type, types, family, time and delivery', async () => {
  const { stripe, control } = await start(NOW);
  await stripe.customers.create();
  await control('/clock/advance', { seconds: 100 });
  const product = await stripe.products.create({ name: 'P' });
  await stripe.products.update(product.id, { name: 'Q' });
  const types = async (params: Stripe.EventListParams) =>
    (await stripe.events.list(params)).data.map((event) => event.type);
  expect(await types({ type: 'product.*' })).toEqual(['product.updated', 'product.created']);
  expect(await types({ types: ['customer.created', 'product.updated'] })).toEqual([
    'product.updated',
    'customer.created',
  ]);
  expect(await types({ created: { gt: seconds(NOW) } })).toEqual(['product.updated', 'product.created']);
  expect(await types({ created: { lte: seconds(NOW) } })).toEqual(['customer.created']);
  await expect(types({ types: Array.from({ length: 21 }, () => 'a.b') })).rejects.toMatchObject({
    param: 'types',
  });
  await expect(types({ type: 'a.b', types: ['a.b'] })).rejects.toMatchObject({ statusCode: 400 });
  const [last] = (await stripe.events.list()).data;
  await control('/clock/advance', { seconds: 31 * DAY });
  expect(await types({})).toEqual([]);
  await expect(stripe.events.retrieve(last!.id)).rejects.toMatchObject({ statusCode: 404 });
});

test('a sink inside the process hears what it asked for, signed, and is never retried', async () => {
  const errors: unknown[] = [];
  const world = new World(new Clock(() => Date.parse(NOW)), () => 'http://127.0.0.1');
  const deliverer = new Deliverer(world, (error) => errors.push(error));
  world.onEvent = (event) => deliverer.dispatch(event);
  const heard: [string, string | undefined][] = [];
  let status = 200;
  const remove = deliverer.addSink({
    secret: SECRET,
    enabledEvents: ['customer.created'],
    send: async (payload, headers) => {
      heard.push([payload, headers['Stripe-Signature']]);
      return status;
    },
  });
  const event = world.emit('customer.created', { id: 'cus_1' });
  expect(event.pending_webhooks).toBe(1);
  world.emit('customer.updated', { id: 'cus_1' });
  await deliverer.idle();
  expect(heard).toHaveLength(1);
  expect(JSON.parse(heard[0]![0])).toMatchObject({ id: event.id, type: 'customer.created' });
  expect(heard[0]![1]).toMatch(/^t=\d+,v1=[0-9a-f]{64}$/);
  expect(event.pending_webhooks).toBe(0);
  status = 500;
  const refused = world.emit('customer.created', { id: 'cus_2' });
  await deliverer.idle();
  expect(deliverer.totals).toEqual({ delivered: 1, failed: 1, dropped: 0 });
  expect([refused.pending_webhooks, world.scheduler.nextAtMs()]).toEqual([0, undefined]);
  expect(deliverer.save()).toEqual([]);
  remove();
  expect(world.emit('customer.created', { id: 'cus_3' }).pending_webhooks).toBe(0);
  expect(errors).toEqual([]);
});

test('with beforeResponse the webhook is there before the answer', async () => {
  const target = await receiver();
  const { stripe, control } = await start(NOW, { webhookEndpoints: [{ url: target.url, secret: SECRET }] });
  await control('/delivery', { beforeResponse: true });
  for (let index = 1; index <= 5; index += 1) {
    const { id } = await stripe.customers.create();
    expect(target.events.map((event) => (event.data.object as { id: string }).id)).toContain(id);
    expect(target.events).toHaveLength(index);
  }
});

test('a receiver that calls the API before it answers does not wait for itself', async () => {
  const { stripe, control } = await start(NOW);
  const names: string[] = [];
  const server = createServer((request, response) => {
    request.resume().on('end', async () => {
      if (names.length === 0) {
        names.push('nested');
        await stripe.products.create({ name: 'nested' });
      }
      response.writeHead(200).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closes.push(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  await stripe.webhookEndpoints.create({ url, enabled_events: ['*'] });
  await control('/delivery', { beforeResponse: true, shuffle: true });
  await stripe.products.create({ name: 'outer' });
  expect(await control('/delivery/settle')).toMatchObject({ delivered: 2, failed: 0 });
});
