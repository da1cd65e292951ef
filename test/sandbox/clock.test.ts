import type Stripe from 'stripe';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Sandbox, startSandbox } from '../../src/sandbox/index.ts';
import { client } from './harness.ts';

const START = Date.UTC(2027, 0, 31, 12);
let wall = START;
let sandbox: Sandbox;
let stripe: Stripe;
const errors: unknown[] = [];

beforeEach(async () => {
  wall = START;
  sandbox = await startSandbox({
    port: 0,
    wallClock: () => wall,
    prices: [{ lookupKey: 'pro', productName: 'Pro', unitAmount: 2000, currency: 'usd', interval: 'month' }],
    webhookEndpoints: [],
    onError: (error) => errors.push(error),
  });
  stripe = client(sandbox.url);
});
afterEach(async () => {
  await sandbox.close();
  expect(errors).toEqual([]);
});

const iso = (seconds: number) => new Date(seconds * 1000).toISOString();

async function subscription(): Promise<string> {
  const customer = await stripe.customers.create({ source: 'tok_visa' });
  const [price] = (await stripe.prices.list()).data;
  return (await stripe.subscriptions.create({ customer: customer.id, items: [{ price: price!.id }] })).id;
}

test('virtual time stands still with a frozen wall clock and keeps its distance when moved', async () => {
  expect(sandbox.now().getTime()).toBe(START);
  const answer = await fetch(`${sandbox.url}/_sandbox/clock/advance`, {
    method: 'POST',
    body: '{"seconds":90.5}',
  });
  expect(await answer.json()).toMatchObject({ now: '2027-01-31T12:01:30.500Z' });
  wall += 1000;
  expect(await (await fetch(`${sandbox.url}/_sandbox/clock`)).json()).toEqual({
    now: '2027-01-31T12:01:31.500Z',
  });
});

test('what came due while nobody looked happens in order and at its own instant', async () => {
  const id = await subscription();
  wall = Date.UTC(2027, 3, 1);
  const invoices = (await stripe.invoices.list({ subscription: id })).data;
  expect(invoices.map((invoice) => iso(invoice.created))).toEqual([
    '2027-03-31T12:00:00.000Z',
    '2027-02-28T12:00:00.000Z',
    '2027-01-31T12:00:00.000Z',
  ]);
  const paid = (await stripe.events.list({ type: 'invoice.paid', limit: 100 })).data;
  expect(iso(paid[0]!.created)).toBe('2027-03-31T13:00:00.000Z');
});

test('an annual subscription from 29 February renews on the 28th', async () => {
  wall = Date.UTC(2028, 1, 29, 12);
  const customer = await stripe.customers.create({ source: 'tok_visa' });
  const price = await stripe.prices.create({
    currency: 'usd',
    unit_amount: 1,
    recurring: { interval: 'year' },
    product_data: { name: 'Y' },
  });
  const created = await stripe.subscriptions.create({ customer: customer.id, items: [{ price: price.id }] });
  expect(iso(created.items.data[0]!.current_period_end)).toBe('2029-02-28T12:00:00.000Z');
});

test('two moves of the clock asked for at once happen one after the other', async () => {
  await subscription();
  const move = () =>
    fetch(`${sandbox.url}/_sandbox/clock/advance`, { method: 'POST', body: '{"to":"2027-05-01T00:00:00Z"}' });
  const answers = await Promise.all([move(), move()]);
  expect(answers.map((answer) => answer.status)).toEqual([200, 200]);
  expect(sandbox.now().toISOString()).toBe('2027-05-01T00:00:00.000Z');
  expect((await stripe.invoices.list({ limit: 100 })).data).toHaveLength(4);
});

test('bad input of any kind is refused and never a failure of the sandbox', async () => {
  const headers = { authorization: 'Bearer sk_test_1' };
  for (const [path, init] of [
    ['/v1/customers/%E0%A4%A', { headers }],
    ['/v1/customers?limit[a]=1', { headers }],
    ['/v1/customers', { headers, method: 'POST', body: 'metadata=text' }],
    ['/v1/customers', { headers, method: 'POST', body: `name=${'x'.repeat(2_000_000)}` }],
    ['/v1/subscriptions', { headers, method: 'POST', body: 'customer=a&items=b' }],
    ['/_sandbox/clock/advance', { method: 'POST', body: '{' }],
    ['/_sandbox/nowhere', { method: 'POST' }],
  ] as const) {
    const { status } = await fetch(`${sandbox.url}${path}`, init);
    expect(status, path).toBeGreaterThanOrEqual(400);
    expect(status, path).toBeLessThan(500);
  }
});
