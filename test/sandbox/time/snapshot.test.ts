import { readFileSync, statSync, writeFileSync } from 'node:fs';
import type Stripe from 'stripe';
import { expect, test } from 'vitest';
import { startSandbox } from '../../../src/sandbox/index.ts';
import { DAY, iso, PRICES, receiver, SECRET, start, temporaryFile } from './support.ts';

const START = '2027-01-31T12:00:00.000Z';

async function subscribe({ stripe, price }: Awaited<ReturnType<typeof start>>): Promise<Stripe.Subscription> {
  const customer = await stripe.customers.create({ source: 'tok_visa', name: 'Ada' });
  return stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await price('pro_monthly') }],
  });
}

test('a restart finds objects, time, planned work, endpoints, events and idempotency keys as they were', async () => {
  const snapshotFile = temporaryFile();
  const first = await start(START, { snapshotFile });
  const subscription = await subscribe(first);
  const endpoint = await first.stripe.webhookEndpoints.create({
    url: 'http://127.0.0.1:9/hook',
    enabled_events: ['price.created'],
  });
  await first.control('/clock/advance', { seconds: 10 * DAY });
  const created = await first.stripe.customers.create({ name: 'once' }, { idempotencyKey: 'k' });
  const events = (await first.stripe.events.list({ limit: 100 })).data;
  await first.close();
  expect(statSync(snapshotFile).mode & 0o777).toBe(0o600);

  const second = await start(START, { snapshotFile });
  expect(second.sandbox.now().toISOString()).toBe('2027-02-10T12:00:00.000Z');
  expect(await second.stripe.subscriptions.retrieve(subscription.id)).toMatchObject({ status: 'active' });
  expect((await second.stripe.webhookEndpoints.list()).data.map((one) => one.id)).toEqual([endpoint.id]);
  expect((await second.stripe.events.list({ limit: 100 })).data).toEqual(events);
  const again = await second.stripe.customers.create({ name: 'once' }, { idempotencyKey: 'k' });
  expect(again.id).toBe(created.id);
  // Nothing was seeded twice.
  expect((await second.stripe.prices.list()).data).toHaveLength(2);
  await second.control('/clock/advance', { seconds: 60 * DAY });
  const invoices = (await second.stripe.invoices.list({ subscription: subscription.id })).data;
  expect(invoices.map((invoice) => [iso(invoice.created).slice(0, 10), invoice.status])).toEqual([
    ['2027-03-31', 'paid'],
    ['2027-02-28', 'paid'],
    ['2027-01-31', 'paid'],
  ]);
});

test('what fell due while the sandbox was stopped happens at its own instant, and time never runs back', async () => {
  const snapshotFile = temporaryFile();
  const first = await start(START, { snapshotFile });
  const subscription = await subscribe(first);
  await first.close();
  const second = await start('2027-03-05T00:00:00.000Z', { snapshotFile });
  const [renewal] = (await second.stripe.invoices.list({ subscription: subscription.id })).data;
  expect(iso(renewal!.created)).toBe('2027-02-28T12:00:00.000Z');
  await second.close();
  const third = await start('2027-01-01T00:00:00.000Z', { snapshotFile });
  expect(third.sandbox.now().toISOString()).toBe('2027-03-05T00:00:00.000Z');
});

test('a changed catalogue adds the prices that are missing, and the host endpoint follows its port and secret', async () => {
  const snapshotFile = temporaryFile();
  const target = await receiver();
  const old = { url: 'http://127.0.0.1:9/old', secret: 'whsec_old' };
  const first = await start(START, { snapshotFile, webhookEndpoints: [old] });
  const customer = await first.stripe.customers.create({ name: 'owed' });
  await first.control('/delivery/settle');
  const [endpoint] = (await first.stripe.webhookEndpoints.list()).data;
  await first.close();
  const second = await start(START, {
    snapshotFile,
    prices: [...PRICES, { lookupKey: 'pack', productName: 'Pack', unitAmount: 1000, currency: 'usd' }],
    webhookEndpoints: [{ url: target.url, secret: SECRET }],
  });
  const keys = (await second.stripe.prices.list()).data.map((price) => price.lookup_key);
  expect(keys).toEqual(['pack', 'pro_annual', 'pro_monthly']);
  expect((await second.stripe.webhookEndpoints.list()).data).toMatchObject([
    { id: endpoint!.id, url: target.url },
  ]);
  // The retry that was planned before the restart goes where the endpoint is now.
  await second.control('/clock/advance', { seconds: 300 });
  expect(target.events.map((event) => (event.data.object as { id: string }).id)).toEqual([customer.id]);
  expect(target.rejected).toEqual([]);
});

test('what was not sent yet is sent after the restart', async () => {
  const snapshotFile = temporaryFile();
  const target = await receiver();
  const webhookEndpoints = [{ url: target.url, secret: SECRET }];
  const first = await start(START, { snapshotFile, webhookEndpoints });
  await first.control('/delivery', { paused: true });
  await first.stripe.customers.create({ name: 'held' });
  await first.close();
  expect(target.events).toEqual([]);
  const second = await start(START, { snapshotFile, webhookEndpoints });
  await second.control('/delivery/settle');
  expect(target.types).toEqual(['customer.created']);
  expect((await second.stripe.events.list({ delivery_success: false })).data).toEqual([]);
});

test('the file follows changes by itself, whole at any moment, and a reset empties it', async () => {
  const snapshotFile = temporaryFile();
  const { stripe, control, close } = await start(START, { snapshotFile });
  const customer = await stripe.customers.create({ name: 'Ada' });
  const content = (): string => readFileSync(snapshotFile, 'utf8');
  await expect.poll(() => content().includes(customer.id), { timeout: 5000 }).toBe(true);
  await control('/reset');
  expect(content()).not.toContain(customer.id);
  expect(content()).toContain('pro_monthly');
  await close();
  const { stripe: next } = await start(START, { snapshotFile });
  expect((await next.customers.list()).data).toEqual([]);
});

test('a file of another version keeps what this one knows; an unreadable one is refused by its name', async () => {
  const snapshotFile = temporaryFile();
  const first = await start(START, { snapshotFile });
  const subscription = await subscribe(first);
  await first.close();
  const saved = JSON.parse(readFileSync(snapshotFile, 'utf8'));
  delete saved.state.discounts;
  Object.assign(saved, { version: 99, apiVersion: '2099-01-01.zinnia' });
  saved.state.hologram = [['holo_1', { id: 'holo_1' }]];
  saved.jobs.push({ atMs: 1, kind: 'hologram_fades', id: 'holo_1', clock: null });
  writeFileSync(snapshotFile, JSON.stringify(saved));
  const second = await start(START, { snapshotFile });
  expect((await second.stripe.subscriptions.retrieve(subscription.id)).status).toBe('active');
  await second.close();
  for (const text of ['{"format":', '{}', JSON.stringify({ ...saved, state: { customers: 'all' } })]) {
    writeFileSync(snapshotFile, text);
    const starting = startSandbox({ port: 0, prices: PRICES, webhookEndpoints: [], snapshotFile });
    await expect(starting).rejects.toThrow(`${snapshotFile} is no snapshot of the Stripe sandbox`);
    await expect(starting).rejects.toThrow('move it away');
    expect(readFileSync(snapshotFile, 'utf8')).toBe(text);
  }
});

test('prorations, schedules and discounts that wait for their day survive a restart', async () => {
  const snapshotFile = temporaryFile();
  const first = await start(START, { snapshotFile });
  const { stripe, price } = first;
  const coupon = await stripe.coupons.create({
    percent_off: 50,
    duration: 'repeating',
    duration_in_months: 6,
  });
  const customer = await stripe.customers.create({ source: 'tok_visa' });
  const subscription = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await price('pro_monthly') }],
    discounts: [{ coupon: coupon.id }],
  });
  await first.control('/clock/advance', { seconds: 14 * DAY });
  await stripe.subscriptions.update(subscription.id, {
    items: [{ id: subscription.items.data[0]!.id, quantity: 3 }],
  });
  await stripe.subscriptionSchedules.create({ from_subscription: subscription.id });
  await first.control('/delivery/settle');
  const run = async ({ control, stripe: client }: typeof first) => {
    await control('/clock/advance', { seconds: 60 * DAY });
    const invoices = await client.invoices.list({ subscription: subscription.id, limit: 100 });
    return invoices.data.map(({ billing_reason, created, status, total, lines }) => [
      billing_reason,
      iso(created),
      status,
      total,
      lines.data.map((line) => [line.amount, line.description]),
    ]);
  };
  const saved = async (): Promise<string> => {
    await expect
      .poll(() => readFileSync(snapshotFile, 'utf8').includes('subscription_schedule'), { timeout: 5000 })
      .toBe(true);
    return readFileSync(snapshotFile, 'utf8');
  };
  const text = await saved();
  const uninterrupted = await run(first);
  await first.close();
  expect(uninterrupted).toHaveLength(3);
  writeFileSync(snapshotFile, text);
  expect(await run(await start(START, { snapshotFile }))).toEqual(uninterrupted);
});
