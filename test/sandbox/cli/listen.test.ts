import type { AddressInfo } from 'node:net';
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type Sandbox, startSandbox } from '../../../src/sandbox/index.ts';
import { client } from '../harness.ts';
import { Cli, Hook, type Running } from './cli.ts';

const errors: unknown[] = [];
let sandbox: Sandbox;
let hook: Hook;
let cli: Cli;

beforeEach(async () => {
  sandbox = await start(0);
  hook = new Hook('not yet known');
  await hook.start();
  cli = new Cli(sandbox.url);
});
afterEach(async () => {
  cli.stop();
  await sandbox.close();
  await hook.stop();
  expect(errors).toEqual([]);
});

const start = (port: number): Promise<Sandbox> =>
  startSandbox({ port, prices: [], webhookEndpoints: [], onError: (error) => errors.push(error) });

/** Starts listening; what the CLI prints is the secret that the receiver is to believe. */
async function listen(using: Cli, ...args: string[]): Promise<Running> {
  const listening = using.start('listen', '--skip-update', '--forward-to', hook.url, ...args);
  const [, secret = ''] = await listening.says(/signing secret is (whsec_[0-9a-f]{64})/);
  hook.secret = secret;
  return listening;
}

test('stripe listen forwards every event, signed so that stripe-node verifies it', async () => {
  const listening = await listen(cli, '--all-snapshot');
  const stripe = client(sandbox.url);
  const customer = await stripe.customers.create({ name: 'Zoë “quoted” <b>' });
  const event = await hook.receives('customer.created', ({ type }) => type === 'customer.created');
  expect(event.data.object).toMatchObject({ id: customer.id, name: 'Zoë “quoted” <b>' });
  await listening.says(/<--\s+\[200\] POST http/);
  await stripe.customers.update(customer.id, { name: 'Zoë' });
  const updated = await hook.receives('customer.updated', ({ type }) => type === 'customer.updated');
  expect(updated.data.previous_attributes).toEqual({ name: 'Zoë “quoted” <b>' });
  expect(hook.rejected).toEqual([]);
});

test('--print-secret prints the secret that listening uses, also after a restart of the sandbox', async () => {
  const { code, out } = await cli.run('listen', '--print-secret', '--skip-update');
  expect(code).toBe(0);
  const listening = await listen(cli, '--all-snapshot');
  expect(out.trim()).toBe(hook.secret);
  await listening.stop();
  const port = Number(new URL(sandbox.url).port);
  await sandbox.close();
  sandbox = await start(port);
  expect((await cli.run('listen', '--print-secret', '--skip-update')).out.trim()).toBe(hook.secret);
});

test('--events lets only those through, and what it passes over does not hold up the sandbox', async () => {
  await listen(cli, '--events', 'product.created');
  const stripe = client(sandbox.url);
  await stripe.customers.create({ name: 'passed over' });
  await stripe.products.create({ name: 'wanted' });
  await hook.receives('product.created', ({ type }) => type === 'product.created');
  await fetch(`${sandbox.url}/_sandbox/delivery/settle`, { method: 'POST' });
  expect(hook.events.map(({ type }) => type)).toEqual(['product.created']);
});

test('--latest receives each event once', async () => {
  await listen(cli, '--all-snapshot', '--latest');
  const stripe = client(sandbox.url);
  const { id } = await stripe.customers.create();
  await stripe.customers.del(id);
  // Either may arrive first, as with Stripe.
  for (const type of ['customer.created', 'customer.deleted']) {
    await hook.receives(type, (event) => event.type === type);
  }
  await fetch(`${sandbox.url}/_sandbox/delivery/settle`, { method: 'POST' });
  expect(hook.events.map(({ type }) => type).sort()).toEqual(['customer.created', 'customer.deleted']);
});

test('a listening CLI finds its session again after a restart of the sandbox', async () => {
  await listen(cli, '--all-snapshot');
  await client(sandbox.url).customers.create({ name: 'before' });
  await hook.receives('customer.created', ({ type }) => type === 'customer.created');
  const port = Number(new URL(sandbox.url).port);
  await sandbox.close();
  sandbox = await start(port);
  // No event can be lost here: the sandbox is asked until the CLI is there to be told.
  const back = hook.receives('customer.updated', ({ type }) => type === 'customer.updated');
  const stripe = client(sandbox.url);
  const { id } = await stripe.customers.create({ name: 'after' });
  const knocking = setInterval(
    () => void stripe.customers.update(id, { metadata: { at: Date.now() } }).catch(() => undefined),
    250,
  );
  await back.finally(() => clearInterval(knocking));
  expect(hook.rejected).toEqual([]);
});

test('what happens while the connection is down arrives when the client is back', async () => {
  const upstream = new URL(sandbox.url);
  const sockets = new Set<Socket>();
  const proxy = createTcpServer((inside) => {
    const outside = connect(Number(upstream.port), upstream.hostname);
    for (const socket of [inside, outside]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    inside.pipe(outside).pipe(inside);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const port = (proxy.address() as AddressInfo).port;
  const { websocket_id: id } = await askForSession(upstream, 'webhooks');
  const opened = (address: string) =>
    new Promise<{ socket: WebSocket; next: () => Promise<Record<string, unknown>> }>((resolve, reject) => {
      const socket = new WebSocket(address, 'stripecli-devproxy-v1');
      const heard: Record<string, unknown>[] = [];
      const waiting: ((message: Record<string, unknown>) => void)[] = [];
      socket.on('message', (data) => {
        const message = JSON.parse(String(data)) as Record<string, unknown>;
        const taker = waiting.shift();
        if (taker === undefined) heard.push(message);
        else taker(message);
      });
      const next = () => {
        const ready = heard.shift();
        return ready === undefined
          ? new Promise<Record<string, unknown>>((taker) => waiting.push(taker))
          : Promise.resolve(ready);
      };
      socket.on('open', () => resolve({ socket, next }));
      socket.on('error', reject);
    });
  const address = `ws://127.0.0.1:${port}/stripecli/subscribe/${id}?websocket_feature=webhooks`;
  const first = await opened(address);
  const closed = new Promise((resolve) => first.socket.on('close', resolve));
  for (const socket of sockets) socket.destroy();
  await closed;
  const stripe = client(sandbox.url);
  await stripe.customers.create({ name: 'meanwhile' });
  const second = await opened(address);
  const { event_payload: payload, endpoint } = await second.next();
  expect(endpoint).toEqual({ api_version: null });
  expect(JSON.parse(String(payload))).toMatchObject({
    type: 'customer.created',
    data: { object: { name: 'meanwhile' } },
  });
  second.socket.terminate();
  await new Promise((resolve) => proxy.close(resolve));
});

async function askForSession(upstream: URL, feature: string): Promise<Record<string, unknown>> {
  const answer = await fetch(new URL('/v1/stripecli/sessions', upstream), {
    method: 'POST',
    headers: { authorization: 'Bearer sk_test_x' },
    body: new URLSearchParams({
      device_name: 'a test',
      forward_to_url: 'http://127.0.0.1:1/',
      'websocket_features[]': feature,
    }),
  });
  return (await answer.json()) as Record<string, unknown>;
}

test('an unknown WebSocket id and a feature that is not offered are refused', async () => {
  const socket = new WebSocket(
    `${sandbox.url.replace('http', 'ws')}/stripecli/subscribe/cliws_of_nobody`,
    'stripecli-devproxy-v1',
  );
  const status = await new Promise((resolve) =>
    socket.on('unexpected-response', (_request, response) => resolve(response.statusCode)),
  );
  expect(status).toBe(404);
  const refused = await askForSession(new URL(sandbox.url), 'request_logs');
  expect(refused).toMatchObject({
    error: {
      param: 'websocket_features[0]',
      message: 'Invalid websocket_features[0]: must be one of webhooks',
    },
  });
});
