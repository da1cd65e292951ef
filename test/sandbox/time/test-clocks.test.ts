import type Stripe from 'stripe';
import { expect, test } from 'vitest';
import { DAY, HOUR, iso, receiver, SECRET, seconds, start, temporaryFile } from './support.ts';

const NOW = '2027-06-15T08:00:00.000Z';
const FROZEN = seconds('2024-01-31T12:00:00Z');

type Sandbox = Awaited<ReturnType<typeof start>>;

async function onClock({ stripe, price }: Sandbox, frozen = FROZEN, key = 'pro_monthly') {
  const clock = await stripe.testHelpers.testClocks.create({ frozen_time: frozen, name: 'a year' });
  const customer = await stripe.customers.create({ source: 'tok_visa', test_clock: clock.id });
  const subscription = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await price(key) }],
    expand: ['latest_invoice'],
  });
  return { clock, customer, subscription };
}

async function advance({ stripe, control }: Sandbox, clock: string, to: number): Promise<void> {
  await stripe.testHelpers.testClocks.advance(clock, { frozen_time: to });
  await control('/delivery/settle');
}

test('what belongs to a clock lives in its frozen time while the others go on', async () => {
  const sandbox = await start(NOW);
  const { stripe, control } = sandbox;
  const { clock, customer, subscription } = await onClock(sandbox);
  expect(clock).toMatchObject({
    object: 'test_helpers.test_clock',
    created: seconds(NOW),
    deletes_after: seconds(NOW) + 30 * DAY,
    frozen_time: FROZEN,
    name: 'a year',
    status: 'ready',
    status_details: {},
  });
  expect(customer).toMatchObject({ created: FROZEN, test_clock: clock.id });
  expect(subscription).toMatchObject({ created: FROZEN, status: 'active', test_clock: clock.id });
  expect(subscription.latest_invoice).toMatchObject({ created: FROZEN, test_clock: clock.id });
  expect(iso(subscription.items.data[0]!.current_period_end)).toBe('2024-02-29T12:00:00.000Z');
  const other = await stripe.customers.create({ name: 'outside' });
  expect(other).toMatchObject({ created: seconds(NOW), test_clock: null });
  // Global time moves a year and does not move the clock.
  await control('/clock/advance', { seconds: 20 * DAY });
  expect((await stripe.invoices.list({ customer: customer.id })).data).toHaveLength(1);
  expect((await stripe.testHelpers.testClocks.retrieve(clock.id)).frozen_time).toBe(FROZEN);
});

test('an advance is asynchronous, runs what is due in order of time and tells of itself', async () => {
  const target = await receiver();
  const sandbox = await start(NOW, { webhookEndpoints: [{ url: target.url, secret: SECRET }] });
  const { stripe, control } = sandbox;
  const { clock, subscription } = await onClock(sandbox);
  await control('/delivery/settle');
  target.take();
  const to = seconds('2024-03-31T13:00:00Z');
  await expect(stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: to })).rejects.toMatchObject({
    param: 'frozen_time',
  });
  const answer = await stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: to - HOUR });
  expect(answer).toMatchObject({
    status: 'advancing',
    frozen_time: FROZEN,
    status_details: { advancing: { target_frozen_time: to - HOUR } },
  });
  await control('/delivery/settle');
  expect(await stripe.testHelpers.testClocks.retrieve(clock.id)).toMatchObject({
    status: 'ready',
    frozen_time: to - HOUR,
    status_details: {},
  });
  await advance(sandbox, clock.id, to);
  const told = target.events.filter((event) =>
    ['invoice.created', 'invoice.paid', 'test_helpers.test_clock.advancing'].includes(event.type),
  );
  expect(told.map((event) => `${event.type} ${iso(event.created)}`)).toEqual([
    `test_helpers.test_clock.advancing ${NOW}`,
    'invoice.created 2024-02-29T12:00:00.000Z',
    'invoice.paid 2024-02-29T13:00:00.000Z',
    'invoice.created 2024-03-31T12:00:00.000Z',
    `test_helpers.test_clock.advancing ${NOW}`,
    'invoice.paid 2024-03-31T13:00:00.000Z',
  ]);
  expect(target.types.at(-1)).toBe('test_helpers.test_clock.ready');
  expect(target.rejected).toEqual([]);
  const { items } = await stripe.subscriptions.retrieve(subscription.id);
  expect(iso(items.data[0]!.current_period_end)).toBe('2024-04-30T12:00:00.000Z');
  // Years old by their own time, but they happened just now.
  const listed = await stripe.events.list({ type: 'invoice.paid', limit: 100 });
  expect(listed.data).toHaveLength(3);
});

test('a clock goes forward only, two intervals of the shortest subscription at most, else two years', async () => {
  const sandbox = await start(NOW);
  const { stripe } = sandbox;
  const refused = (id: string, at: string) =>
    expect(stripe.testHelpers.testClocks.advance(id, { frozen_time: seconds(at) })).rejects.toMatchObject({
      type: 'StripeInvalidRequestError',
      param: 'frozen_time',
      statusCode: 400,
    });
  const empty = await stripe.testHelpers.testClocks.create({ frozen_time: FROZEN });
  await refused(empty.id, '2024-01-31T12:00:00Z');
  await refused(empty.id, '2026-01-31T12:00:01Z');
  await advance(sandbox, empty.id, seconds('2026-01-31T12:00:00Z'));
  const annual = await onClock(sandbox, FROZEN, 'pro_annual');
  await refused(annual.clock.id, '2026-01-31T12:00:01Z');
  await stripe.subscriptions.create({
    customer: annual.customer.id,
    items: [{ price: await sandbox.price('pro_monthly') }],
  });
  await refused(annual.clock.id, '2024-03-31T12:00:01Z');
  await advance(sandbox, annual.clock.id, seconds('2024-03-31T12:00:00Z'));
  await expect(stripe.testHelpers.testClocks.retrieve('clock_none')).rejects.toMatchObject({
    code: 'resource_missing',
    statusCode: 404,
  });
});

test('while a clock runs its objects cannot be changed, those of others can', async () => {
  const target = await receiver();
  const sandbox = await start(NOW, { webhookEndpoints: [{ url: target.url, secret: SECRET }] });
  const { stripe, control } = sandbox;
  const { clock, customer, subscription } = await onClock(sandbox);
  await stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: FROZEN + 40 * DAY });
  await expect(stripe.subscriptions.update(subscription.id, { metadata: { a: 'b' } })).rejects.toMatchObject({
    statusCode: 429,
    message: 'Test clock advancement underway - cannot perform modifications',
  });
  expect((await stripe.customers.retrieve(customer.id)).id).toBe(customer.id);
  await stripe.customers.create({ name: 'other' });
  await control('/delivery/settle');
  await stripe.subscriptions.update(subscription.id, { metadata: { a: 'b' } });
});

test('lists show the objects of clocks only when they are asked for', async () => {
  const sandbox = await start(NOW);
  const { stripe } = sandbox;
  const { clock, customer, subscription } = await onClock(sandbox);
  const plain = await stripe.customers.create({ source: 'tok_visa' });
  const ids = async (list: Promise<Stripe.ApiList<{ id: string }>>) => (await list).data.map(({ id }) => id);
  expect(await ids(stripe.customers.list())).toEqual([plain.id]);
  expect(await ids(stripe.customers.list({ test_clock: clock.id }))).toEqual([customer.id]);
  expect(await ids(stripe.subscriptions.list())).toEqual([]);
  expect(await ids(stripe.subscriptions.list({ test_clock: clock.id }))).toEqual([subscription.id]);
  expect(await ids(stripe.subscriptions.list({ customer: customer.id }))).toEqual([subscription.id]);
  expect(await ids(stripe.testHelpers.testClocks.list())).toEqual([clock.id]);
});

test('deleting a clock deletes its customers and cancels their subscriptions; unused for 30 days it goes by itself', async () => {
  const target = await receiver();
  const sandbox = await start(NOW, { webhookEndpoints: [{ url: target.url, secret: SECRET }] });
  const { stripe, control } = sandbox;
  const { clock, customer, subscription } = await onClock(sandbox);
  await control('/delivery/settle');
  target.take();
  expect(await stripe.testHelpers.testClocks.del(clock.id)).toMatchObject({ deleted: true, id: clock.id });
  await control('/delivery/settle');
  expect(target.take().toSorted()).toEqual(
    expect.arrayContaining([
      'customer.deleted',
      'customer.subscription.deleted',
      'test_helpers.test_clock.deleted',
    ]),
  );
  expect(await stripe.customers.retrieve(customer.id)).toMatchObject({ deleted: true });
  expect((await stripe.subscriptions.retrieve(subscription.id)).status).toBe('canceled');
  const second = await onClock(sandbox);
  await control('/clock/advance', { seconds: 30 * DAY });
  await expect(stripe.testHelpers.testClocks.retrieve(second.clock.id)).rejects.toMatchObject({
    statusCode: 404,
  });
});

test('a customer who is already there can be put on a clock, and what is planned for him comes along', async () => {
  const sandbox = await start(NOW);
  const { stripe, price, control } = sandbox;
  const customer = await stripe.customers.create({ source: 'tok_visa' });
  await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await price('pro_monthly') }],
  });
  const clock = await stripe.testHelpers.testClocks.create({
    frozen_time: seconds(NOW),
    customer: customer.id,
  });
  await control('/clock/advance', { seconds: 25 * DAY });
  await control('/clock/advance', { seconds: 4 * DAY });
  const invoices = async () => (await stripe.invoices.list({ customer: customer.id })).data;
  expect(await invoices()).toHaveLength(1);
  await advance(sandbox, clock.id, seconds('2027-07-15T09:00:00Z'));
  expect((await invoices()).map((one) => iso(one.created))).toEqual(['2027-07-15T08:00:00.000Z', NOW]);
});

test('a clock that was on its way when the sandbox stopped arrives after the restart', async () => {
  const snapshotFile = temporaryFile();
  const first = await start(NOW, { snapshotFile });
  const { clock, customer } = await onClock(first);
  await first.stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: FROZEN + 40 * DAY });
  await first.close();
  const second = await start(NOW, { snapshotFile });
  await second.control('/delivery/settle');
  expect(await second.stripe.testHelpers.testClocks.retrieve(clock.id)).toMatchObject({
    status: 'ready',
    frozen_time: FROZEN + 40 * DAY,
  });
  expect((await second.stripe.invoices.list({ customer: customer.id })).data).toHaveLength(2);
});
