import type Stripe from 'stripe';
import { expect, test } from 'vitest';
import { iso, receiver, SECRET, start } from './support.ts';

/** Stripe counts days; a year from here has the leap day of 2028 in it. */
const START = '2028-01-31T12:00:00.000Z';
const END = '2029-01-31T14:00:00.000Z';

async function sandboxWithReceiver() {
  const target = await receiver();
  const sandbox = await start(START, { webhookEndpoints: [{ url: target.url, secret: SECRET }] });
  return { ...sandbox, target };
}
type Started = Awaited<ReturnType<typeof sandboxWithReceiver>>;

async function customerWith({ stripe, price }: Started, key: string, extra: Record<string, unknown> = {}) {
  const customer = await stripe.customers.create({ source: 'tok_visa' });
  const subscription = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await price(key) }],
    ...extra,
  });
  return { customer: customer.id, id: subscription.id };
}

const lived = async ({ stripe }: Started, subscription: string): Promise<Stripe.Invoice[]> =>
  (await stripe.invoices.list({ subscription, limit: 100 })).data.reverse();
const days = (invoices: Stripe.Invoice[]): string[] =>
  invoices.map((invoice) => iso(invoice.created).slice(0, 10));

test('a year: month-end anchor over a leap day, a failed card and its recovery, a trial, an annual plan', async () => {
  const started = await sandboxWithReceiver();
  const { control, stripe, target } = started;
  const monthly = await customerWith(started, 'pro_monthly');
  const trial = await customerWith(started, 'pro_monthly', { trial_period_days: 14 });
  const annual = await customerWith(started, 'pro_annual');
  const startedMs = performance.now();
  const first = await control('/clock/advance', { to: '2028-05-30T12:00:00Z' });
  await control(`/customers/${monthly.customer}/payment`, { outcome: 'insufficient_funds' });
  const second = await control('/clock/advance', { to: '2028-06-01T12:00:00Z' });
  expect((await stripe.subscriptions.retrieve(monthly.id)).status).toBe('past_due');
  await control(`/customers/${monthly.customer}/payment`, { outcome: 'succeeds' });
  const third = await control('/clock/advance', { to: END });
  const tookMs = Math.round(performance.now() - startedMs);

  expect(days(await lived(started, monthly.id))).toEqual([
    '2028-01-31',
    '2028-02-29',
    '2028-03-31',
    '2028-04-30',
    '2028-05-31',
    '2028-06-30',
    '2028-07-31',
    '2028-08-31',
    '2028-09-30',
    '2028-10-31',
    '2028-11-30',
    '2028-12-31',
    '2029-01-31',
  ]);
  expect(days(await lived(started, trial.id)).slice(0, 3)).toEqual([
    '2028-01-31',
    '2028-02-14',
    '2028-03-14',
  ]);
  expect(days(await lived(started, annual.id))).toEqual(['2028-01-31', '2029-01-31']);
  for (const { id } of [monthly, trial, annual]) {
    expect((await stripe.subscriptions.retrieve(id)).status).toBe('active');
    expect(new Set((await lived(started, id)).map((invoice) => invoice.status))).toEqual(new Set(['paid']));
  }
  const retried = (await lived(started, monthly.id))[4]!;
  expect([retried.attempt_count, iso(retried.status_transitions.paid_at!)]).toEqual([
    2,
    '2028-06-03T13:00:00.000Z',
  ]);

  // What bounds the time is the number of instants at which something is due: a handful a month, not one a day.
  const steps = [first, second, third].reduce((sum, answer) => sum + Number(answer.steps), 0);
  expect(steps).toBeGreaterThan(50);
  expect(steps).toBeLessThan(250);
  expect(target.rejected).toEqual([]);
  expect(Number(third.delivered)).toBe(target.events.length);
  process.stdout.write(`a year: ${steps} steps, ${target.events.length} webhooks, ${tookMs} ms\n`);
});

test('the same year on a test clock, two intervals at a time', async () => {
  const started = await sandboxWithReceiver();
  const { control, stripe, price, target } = started;
  const clock = await stripe.testHelpers.testClocks.create({ frozen_time: Date.parse(START) / 1000 });
  const customer = await stripe.customers.create({ source: 'tok_visa', test_clock: clock.id });
  const { id } = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await price('pro_monthly') }],
  });
  const startedMs = performance.now();
  for (const to of ['2028-03-31', '2028-05-31', '2028-07-31', '2028-09-30', '2028-11-30', '2029-01-30']) {
    await stripe.testHelpers.testClocks.advance(clock.id, {
      frozen_time: Date.parse(`${to}T12:00:00Z`) / 1000,
    });
    await control('/delivery/settle');
    expect((await stripe.testHelpers.testClocks.retrieve(clock.id)).status).toBe('ready');
  }
  const tookMs = Math.round(performance.now() - startedMs);
  expect(await lived(started, id)).toHaveLength(12);
  const created = target.events
    .filter(({ type }) => type.startsWith('invoice.') && type !== 'invoice.upcoming')
    .map((event) => event.created);
  expect(created).toEqual(created.toSorted((a, b) => a - b));
  process.stdout.write(`a year on a test clock: ${target.events.length} webhooks, ${tookMs} ms\n`);
});
