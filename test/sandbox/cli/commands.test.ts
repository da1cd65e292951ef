// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the CLI's own placeholders
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type Stripe from 'stripe';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Sandbox, startSandbox } from '../../../src/sandbox/index.ts';
import { client } from '../harness.ts';
import { Cli, Hook } from './cli.ts';

const SECRET = 'whsec_of_the_commands_test';
const hook = new Hook(SECRET);
const errors: unknown[] = [];
let sandbox: Sandbox;
let cli: Cli;
let stripe: Stripe;

beforeAll(async () => {
  const url = await hook.start();
  sandbox = await startSandbox({
    port: 0,
    prices: [
      { lookupKey: 'pro_monthly', productName: 'Pro', unitAmount: 2000, currency: 'usd', interval: 'month' },
    ],
    webhookEndpoints: [{ url, secret: SECRET }],
    onError: (error) => errors.push(error),
  });
  cli = new Cli(sandbox.url);
  stripe = client(sandbox.url);
});
beforeEach(() => {
  hook.events = [];
});
afterAll(async () => {
  cli.stop();
  await sandbox.close();
  await hook.stop();
  expect(errors).toEqual([]);
});

/** The answer that a command prints. */
async function object(...args: string[]): Promise<Record<string, unknown>> {
  const { code, out } = await cli.run(...args);
  expect(code).toBe(0);
  // Before some answers the CLI says on which account it is about to act.
  const start = out.indexOf('{');
  expect(start, out).toBeGreaterThanOrEqual(0);
  return JSON.parse(out.slice(start)) as Record<string, unknown>;
}

async function subscription(): Promise<Stripe.Subscription> {
  const customer = await stripe.customers.create({
    payment_method: 'pm_card_visa',
    invoice_settings: { default_payment_method: 'pm_card_visa' },
  });
  const { data } = await stripe.prices.list({ lookup_keys: ['pro_monthly'] });
  return stripe.subscriptions.create({ customer: customer.id, items: [{ price: data[0]!.id }] });
}

test('stripe get, post and delete', async () => {
  const made = await object('post', '/v1/customers', '-d', 'name=Ada', '-d', 'metadata[plan]=pro');
  expect(made).toMatchObject({ object: 'customer', name: 'Ada', metadata: { plan: 'pro' } });
  const id = String(made.id);
  expect(await object('get', id)).toEqual(made);
  expect(await object('get', '/v1/customers', '--limit', '1')).toMatchObject({
    object: 'list',
    data: [{ id }],
  });
  expect(await object('delete', `/v1/customers/${id}`, '--confirm')).toEqual({
    id,
    object: 'customer',
    deleted: true,
  });
  await hook.receives('customer.deleted', ({ type }) => type === 'customer.deleted');
});

test('stripe subscriptions update and cancel', async () => {
  const { id } = await subscription();
  expect(
    await object('subscriptions', 'update', id, '--cancel-at-period-end=true', '-d', 'metadata[a]=b'),
  ).toMatchObject({ id, cancel_at_period_end: true, metadata: { a: 'b' } });
  expect(await object('subscriptions', 'cancel', id, '--confirm')).toMatchObject({ id, status: 'canceled' });
  const ended = 'customer.subscription.deleted';
  expect((await hook.receives(ended, ({ type }) => type === ended)).data.object).toMatchObject({ id });
});

test('stripe events list and resend to an endpoint', async () => {
  const customer = await stripe.customers.create({ name: 'resent' });
  const first = await hook.receives('customer.created', ({ type }) => type === 'customer.created');
  const listed = await object('events', 'list', '--type', 'customer.created', '--limit', '1');
  expect(listed.data).toMatchObject([{ id: first.id, data: { object: { id: customer.id } } }]);
  const { data } = await stripe.webhookEndpoints.list();
  hook.events = [];
  expect(await object('events', 'resend', first.id, '--webhook-endpoint', data[0]!.id)).toMatchObject({
    id: first.id,
  });
  const again = await hook.receives('the event again', ({ id }) => id === first.id);
  expect(again.data).toEqual(first.data);
});

test('stripe events resend without an endpoint reaches the CLI that listens', async () => {
  const own = new Hook('not yet known');
  await own.start();
  const listening = cli.start('listen', '--skip-update', '--all-snapshot', '--forward-to', own.url);
  const [, secret = ''] = await listening.says(/signing secret is (whsec_[0-9a-f]{64})/);
  own.secret = secret;
  await stripe.customers.create({ name: 'twice' });
  const first = await own.receives('customer.created', ({ type }) => type === 'customer.created');
  await hook.receives('customer.created', ({ id }) => id === first.id);
  own.events = [];
  hook.events = [];
  await object('events', 'resend', first.id);
  expect((await own.receives('the event again', ({ id }) => id === first.id)).data).toEqual(first.data);
  expect(hook.events).toEqual([]);
  await listening.stop();
  await own.stop();
});

test('stripe fixtures: a scenario of one`s own, each step with what the steps before made', async () => {
  const file = join(cli.home, 'upgrade.json');
  const step = (name: string, path: string, params: object, method = 'post') => ({
    name,
    path,
    method,
    params,
  });
  writeFileSync(
    file,
    JSON.stringify({
      _meta: { template_version: 0 },
      fixtures: [
        step('ada', '/v1/customers', {
          name: 'Ada',
          payment_method: 'pm_card_visa',
          invoice_settings: { default_payment_method: 'pm_card_visa' },
        }),
        step('team', '/v1/products', { name: 'Team' }),
        step('monthly', '/v1/prices', {
          product: '${team:id}',
          unit_amount: 4900,
          currency: 'usd',
          recurring: { interval: 'month' },
        }),
        step('plan', '/v1/subscriptions', { customer: '${ada:id}', items: [{ price: '${monthly:id}' }] }),
        step('seats', '/v1/subscriptions/${plan:id}', {
          items: [{ id: '${plan:items.data.0.id}', quantity: 3 }],
          proration_behavior: 'always_invoice',
        }),
      ],
    }),
  );
  const { code, out } = await cli.run('fixtures', file);
  expect(out).not.toMatch(/error/i);
  expect(code).toBe(0);
  const paid = await hook.receives(
    'the invoice of two more seats',
    ({ type, data }) =>
      type === 'invoice.paid' && (data.object as Stripe.Invoice).billing_reason === 'subscription_update',
  );
  expect(paid.data.object).toMatchObject({ amount_paid: 9800 });
});

test('a trigger can be changed with --override, --add and --remove', async () => {
  const { out } = await cli.run(
    'trigger',
    'customer.created',
    '--override',
    'customer:description=mine',
    '--add',
    'customer:email=ada@example.com',
  );
  expect(out).toContain('Trigger succeeded!');
  const { data } = await hook.receives('customer.created', ({ type }) => type === 'customer.created');
  expect(data.object).toMatchObject({ description: 'mine', email: 'ada@example.com' });
});

test('what the sandbox refuses, the CLI shows in the words of the API', async () => {
  const { out } = await cli.run('get', 'cus_nobody');
  expect(out).toContain("No such customer: 'cus_nobody'");
  const unknown = await cli.run('post', '/v1/customers', '-d', 'shoe_size=44');
  expect(unknown.out).toContain('parameter_unknown');
});
