import { afterEach, beforeEach, expect, test } from 'vitest';
import { client, DAY, type Harness, startHarness, subscribe } from './harness.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  await harness.stop();
  expect(harness.errors).toEqual([]);
});

const call = (path: string, init: RequestInit = {}) =>
  fetch(`${harness.sandbox.url}${path}`, {
    ...init,
    headers: {
      authorization: 'Bearer sk_test_x',
      'content-type': 'application/x-www-form-urlencoded',
      ...init.headers,
    },
  });
const errorOf = async (response: Response) => {
  const body = (await response.json()) as { error: Record<string, unknown> };
  return { status: response.status, ...body.error };
};

test('only test keys get in, as bearer token or basic user name', async () => {
  const attempt = (authorization: string) => call('/v1/customers', { headers: { authorization } });
  expect((await attempt('Bearer sk_test_1')).status).toBe(200);
  expect((await attempt('Bearer rk_test_1')).status).toBe(200);
  expect((await attempt(`Basic ${Buffer.from('sk_test_1:').toString('base64')}`)).status).toBe(200);
  expect(await errorOf(await attempt('Bearer sk_live_1234567890abcd'))).toMatchObject({
    status: 401,
    type: 'invalid_request_error',
  });
  await expect(client(harness.sandbox.url).customers.list({}, { apiKey: 'pk_test_1' })).rejects.toMatchObject(
    { type: 'StripeAuthenticationError' },
  );
});

test('every answer names its request, echoes the version, and is indented', async () => {
  const response = await call('/v1/customers', { headers: { 'stripe-version': '2026-10-28.endive' } });
  expect(response.headers.get('request-id')).toMatch(/^req_\w{14}$/);
  expect(response.headers.get('stripe-version')).toBe('2026-10-28.endive');
  expect(await response.text()).toContain('\n  "object": "list"');
});

test('an unknown URL, parameter, enum value or id is refused in words like those of Stripe', async () => {
  expect(await errorOf(await call('/v1/no_such_thing'))).toMatchObject({
    status: 404,
    message: expect.stringContaining('Unrecognized request URL (GET: /v1/no_such_thing)'),
  });
  const post = (path: string, body: string) => call(path, { method: 'POST', body });
  expect(await errorOf(await post('/v1/customers', 'emial=a'))).toMatchObject({
    status: 400,
    code: 'parameter_unknown',
    param: 'emial',
    message: 'Received unknown parameter: emial',
  });
  expect(await errorOf(await post('/v1/subscriptions', 'customer=cus_1&items[0][prize]=p'))).toMatchObject({
    code: 'parameter_unknown',
    param: 'items[0][prize]',
  });
  expect(await errorOf(await post('/v1/subscriptions', 'items[0][price]=p'))).toMatchObject({
    code: 'parameter_missing',
    param: 'customer',
  });
  expect(
    await errorOf(await post('/v1/checkout/sessions', 'mode=gift&line_items[0][price]=p')),
  ).toMatchObject({ param: 'mode', message: 'Invalid mode: must be one of payment, setup, or subscription' });
  expect(await errorOf(await call('/v1/customers?limit=ten'))).toMatchObject({
    code: 'parameter_invalid_integer',
    param: 'limit',
  });
  expect(await errorOf(await call('/v1/customers/cus_none'))).toMatchObject({
    status: 404,
    code: 'resource_missing',
    message: "No such customer: 'cus_none'",
    param: 'id',
  });
  const customer = await harness.stripe.customers.create({});
  expect(
    await errorOf(await post('/v1/subscriptions', `customer=${customer.id}&items[0][price]=x`)),
  ).toMatchObject({ status: 400, message: "No such price: 'x'", param: 'items[0][price]' });
});

test('what endive removed is refused when endive is asked for, and only then', async () => {
  const body = `mode=payment&success_url=http://x.test&line_items[0][price]=${await harness.price('pack_50')}&payment_method_types[]=card`;
  const send = (headers: Record<string, string>) =>
    call('/v1/checkout/sessions', { method: 'POST', body, headers });
  expect((await send({})).status).toBe(200);
  expect(await errorOf(await send({ 'stripe-version': '2026-10-28.endive' }))).toMatchObject({
    code: 'parameter_unknown',
    param: 'payment_method_types',
  });
  const { subscription } = await subscribe(harness);
  expect(
    await errorOf(
      await call(`/v1/subscriptions/${subscription}`, {
        method: 'POST',
        body: 'billing_cycle_anchor=now',
        headers: { 'stripe-version': '2026-10-28.endive' },
      }),
    ),
  ).toMatchObject({ status: 400, param: 'billing_cycle_anchor' });
});

test('an idempotency key replays its first answer, refuses other parameters and forgets after a day', async () => {
  const { stripe } = harness;
  const first = await stripe.customers.create({ email: 'a@example.com' }, { idempotencyKey: 'k1' });
  const second = await stripe.customers.create({ email: 'a@example.com' }, { idempotencyKey: 'k1' });
  expect(second.id).toBe(first.id);
  expect(second.lastResponse.headers['idempotent-replayed']).toBe('true');
  await expect(
    stripe.customers.create({ email: 'b@example.com' }, { idempotencyKey: 'k1' }),
  ).rejects.toMatchObject({ type: 'StripeIdempotencyError', statusCode: 400 });
  expect((await stripe.customers.list()).data).toHaveLength(1);
  await harness.advance(DAY);
  expect((await stripe.customers.create({ email: 'b@example.com' }, { idempotencyKey: 'k1' })).email).toBe(
    'b@example.com',
  );
});

test('a second request with the key of one still running gets 409', async () => {
  await harness.control('/faults', { latencyMs: 150 });
  const send = () =>
    call('/v1/customers', { method: 'POST', body: 'name=a', headers: { 'idempotency-key': 'k2' } });
  const answers = await Promise.all([send(), send()]);
  expect(answers.map((answer) => answer.status).sort()).toEqual([200, 409]);
  const refused = answers.find((answer) => answer.status === 409);
  expect(await errorOf(refused!)).toMatchObject({ code: 'idempotency_key_in_use' });
});

test('a connection reset after the commit is healed by the retry of the client', async () => {
  await harness.control('/faults', { resetAfterCommitRate: 1 });
  const stripe = client(harness.sandbox.url, { maxNetworkRetries: 0 });
  await expect(stripe.customers.create({ name: 'once' }, { idempotencyKey: 'k3' })).rejects.toMatchObject({
    type: 'StripeConnectionError',
  });
  await harness.control('/faults', { resetAfterCommitRate: 0 });
  const replayed = await stripe.customers.create({ name: 'once' }, { idempotencyKey: 'k3' });
  expect((await stripe.customers.list()).data.map((customer) => customer.id)).toEqual([replayed.id]);
});

test('an injected error changes nothing and is the same run after run with one seed', async () => {
  const run = async () => {
    await harness.control('/faults', { errorRate: 0.5, seed: 7 });
    const statuses: number[] = [];
    for (let index = 0; index < 12; index += 1)
      statuses.push((await call('/v1/customers', { method: 'POST', body: `name=${index}` })).status);
    return statuses;
  };
  const first = await run();
  expect(await run()).toEqual(first);
  expect(new Set(first)).toEqual(new Set([200, 500]));
  await harness.control('/faults', { errorRate: 0 });
  expect((await harness.stripe.customers.list({ limit: 100 })).data).toHaveLength(
    2 * first.filter((status) => status === 200).length,
  );
});

test('lists are newest first and can be walked in both directions', async () => {
  const { stripe } = harness;
  const ids: string[] = [];
  for (let index = 0; index < 25; index += 1)
    ids.push((await stripe.customers.create({ email: `u${index % 2}@example.com` })).id);
  const newest = [...ids].reverse();
  const first = await stripe.customers.list();
  expect(first).toMatchObject({ object: 'list', has_more: true, url: '/v1/customers' });
  expect(first.data.map((customer) => customer.id)).toEqual(newest.slice(0, 10));
  const walked: string[] = [];
  for await (const customer of stripe.customers.list({ limit: 7 })) walked.push(customer.id);
  expect(walked).toEqual(newest);
  const back = await stripe.customers.list({ limit: 3, ending_before: newest[10]! });
  expect(back.data.map((customer) => customer.id)).toEqual(newest.slice(7, 10));
  expect((await stripe.customers.list({ email: 'u1@example.com', limit: 100 })).data).toHaveLength(12);
  const now = Math.floor(harness.sandbox.now().getTime() / 1000);
  expect((await stripe.customers.list({ created: { gt: now + 5 } })).data).toEqual([]);
  await expect(stripe.customers.list({ limit: 101 })).rejects.toMatchObject({ param: 'limit' });
});

test('references are expanded when asked for, four levels deep and inside lists', async () => {
  const { stripe } = harness;
  const { subscription, customer } = await subscribe(harness);
  const plain = await stripe.invoices.list({ subscription });
  expect(plain.data[0]).not.toHaveProperty('payments');
  const listed = await stripe.invoices.list({
    subscription,
    expand: ['data.customer', 'data.payments.data.payment.payment_intent'],
  });
  expect(listed.data[0]!.customer).toMatchObject({ id: customer, object: 'customer' });
  const [payment] = listed.data[0]!.payments?.data ?? [];
  expect(payment!.payment.payment_intent).toMatchObject({
    object: 'payment_intent',
  });
  const full = await stripe.subscriptions.retrieve(subscription, {
    expand: ['items.data.price.product', 'default_payment_method'],
  });
  expect(full.items.data[0]!.price.product).toMatchObject({ name: 'Pro' });
  expect(full.default_payment_method).toMatchObject({ card: { last4: '4242' } });
  await expect(stripe.customers.retrieve(customer, { expand: ['email_address'] })).rejects.toMatchObject({
    message: 'This property cannot be expanded (email_address).',
  });
});

test('the control API names the field it refuses and changes nothing', async () => {
  for (const [path, body, field] of [
    ['/clock/advance', { seconds: -1 }, 'seconds'],
    ['/clock/advance', { to: '2001-01-01T00:00:00Z' }, 'to'],
    ['/clock/advance', { days: 3 }, 'days'],
    ['/delivery', { dropRate: 2 }, 'dropRate'],
    ['/faults', { latencyMs: 'slow' }, 'latencyMs'],
    ['/checkout/cs_none/complete', { outcome: 'fly' }, 'outcome'],
  ] as const)
    await expect(harness.control(path, body)).rejects.toMatchObject({
      status: 400,
      answer: { error: { param: field } },
    });
});

test('a reset brings back the catalogue, the endpoints and real time', async () => {
  const { stripe, receiver } = harness;
  await stripe.customers.create({});
  await harness.advance(400 * DAY);
  await harness.control('/reset');
  expect((await stripe.customers.list()).data).toEqual([]);
  expect((await stripe.prices.list()).data.map((price) => price.lookup_key).sort()).toEqual([
    'pack_50',
    'pro_annual',
    'pro_monthly',
  ]);
  expect(Math.abs(harness.sandbox.now().getTime() - Date.now())).toBeLessThan(5000);
  receiver.take();
  await stripe.customers.create({});
  await harness.control('/delivery/settle');
  expect(receiver.types).toEqual(['customer.created']);
});
