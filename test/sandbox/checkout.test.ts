import { afterEach, beforeEach, expect, test } from 'vitest';
import { DAY, type Harness, startHarness, subscribe } from './harness.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  await harness.stop();
  expect(harness.errors).toEqual([]);
});

test('a completed Checkout leaves an active paid subscription and tells it in the order of stripe.md B6', async () => {
  const { stripe, receiver } = harness;
  const {
    subscription: id,
    session,
    customer,
  } = await subscribe(harness, 'pro_monthly', { metadata: { plan: 'pro' } });
  expect(session).toMatchObject({
    status: 'complete',
    payment_status: 'paid',
    customer,
    client_reference_id: 'user_1',
    metadata: { plan: 'pro' },
    url: null,
  });
  const subscription = await stripe.subscriptions.retrieve(id, { expand: ['latest_invoice.payments'] });
  expect(subscription.status).toBe('active');
  expect(subscription.billing_mode.type).toBe('flexible');
  expect(subscription).not.toHaveProperty('current_period_end');
  expect(subscription.items.data[0]!.current_period_end).toBeGreaterThan(subscription.start_date + 27 * DAY);
  const invoice = subscription.latest_invoice;
  if (typeof invoice !== 'object' || invoice === null) throw new Error('latest_invoice was not expanded');
  expect(invoice).toMatchObject({ status: 'paid', amount_paid: 2000, billing_reason: 'subscription_create' });
  expect(invoice.parent?.subscription_details?.subscription).toBe(id);
  expect(invoice.payments?.data[0]).toMatchObject({ status: 'paid', amount_paid: 2000, is_default: true });
  const types = receiver.types;
  const order = [
    'customer.created',
    'payment_method.attached',
    'customer.subscription.created',
    'invoice.created',
    'invoice.finalized',
    'charge.succeeded',
    'payment_intent.succeeded',
    'invoice_payment.paid',
    'invoice.paid',
    'invoice.payment_succeeded',
    'customer.subscription.updated',
    'checkout.session.completed',
  ];
  expect([...types].sort()).toEqual(expect.arrayContaining([...order].sort()));
  const listed = (await stripe.events.list({ limit: 100 })).data.map((event) => event.type).reverse();
  expect(listed.filter((type) => order.includes(type))).toEqual(order);
  expect(receiver.rejected).toEqual([]);
});

test('a pack bought on the hosted page form is paid once and redirects with the session id', async () => {
  const { stripe, sandbox } = harness;
  const session = await stripe.checkout.sessions.create({
    mode: 'payment',
    line_items: [{ price: await harness.price('pack_50'), quantity: 2 }],
    success_url: 'http://127.0.0.1:1/ok?session={CHECKOUT_SESSION_ID}&x=<b>',
    payment_intent_data: { metadata: { user: 'u1' } },
  });
  expect(session.url?.startsWith(sandbox.url)).toBe(true);
  const page = await (await fetch(session.url!)).text();
  expect(page).toContain('4242 4242 4242 4242');
  expect(page).toContain('$20.00');
  const submit = (outcome: string) =>
    fetch(session.url!, { method: 'POST', body: new URLSearchParams({ outcome }), redirect: 'manual' });
  const declined = await submit('card_declined');
  expect(declined.status).toBe(200);
  expect(await declined.text()).toContain('Your card was declined.');
  const paid = await submit('succeeds');
  expect(paid.status).toBe(303);
  expect(paid.headers.get('location')).toBe(`http://127.0.0.1:1/ok?session=${session.id}&x=<b>`);
  expect((await submit('succeeds')).status).toBe(409);
  const done = await stripe.checkout.sessions.retrieve(session.id, {
    expand: ['payment_intent', 'line_items'],
  });
  expect(done).toMatchObject({
    status: 'complete',
    payment_status: 'paid',
    amount_total: 2000,
    customer: null,
  });
  expect(done.payment_intent).toMatchObject({
    status: 'succeeded',
    amount_received: 2000,
    metadata: { user: 'u1' },
  });
  expect(done.line_items?.data[0]).toMatchObject({ quantity: 2, amount_total: 2000 });
  expect((await stripe.charges.list()).data.map((charge) => charge.status)).toEqual(['succeeded', 'failed']);
});

test('text from the caller cannot become markup on the hosted page', async () => {
  const { stripe } = harness;
  const session = await stripe.checkout.sessions.create({
    mode: 'payment',
    line_items: [
      {
        price_data: {
          currency: 'usd',
          unit_amount: 500,
          product_data: { name: '<script>alert(1)</script>' },
        },
      },
    ],
    success_url: 'http://127.0.0.1:1/ok',
  });
  const page = await (await fetch(session.url!)).text();
  expect(page).not.toContain('<script>');
  expect(page).toContain('&lt;script&gt;');
});

test('a session nobody completes expires after 24 hours', async () => {
  const { stripe, receiver } = harness;
  const session = await stripe.checkout.sessions.create({
    mode: 'subscription',
    line_items: [{ price: await harness.price('pro_monthly') }],
    success_url: 'http://127.0.0.1:1/ok',
  });
  await harness.control(`/checkout/${session.id}/complete`, { outcome: 'abandon' });
  await harness.advance(DAY - 60);
  expect((await stripe.checkout.sessions.retrieve(session.id)).status).toBe('open');
  await harness.advance(120);
  expect((await stripe.checkout.sessions.retrieve(session.id)).status).toBe('expired');
  expect(receiver.types).toContain('checkout.session.expired');
  await expect(harness.control(`/checkout/${session.id}/complete`)).rejects.toMatchObject({ status: 400 });
});

test('a delayed payment completes unpaid and settles or fails days later', async () => {
  const { stripe, receiver } = harness;
  for (const [outcome, type, status] of [
    ['async_succeeds', 'checkout.session.async_payment_succeeded', 'paid'],
    ['async_fails', 'checkout.session.async_payment_failed', 'unpaid'],
  ] as const) {
    const session = await stripe.checkout.sessions.create({
      mode: 'payment',
      line_items: [{ price: await harness.price('pack_50'), quantity: 1 }],
      success_url: 'http://127.0.0.1:1/ok',
    });
    await harness.control(`/checkout/${session.id}/complete`, { outcome });
    expect(receiver.types).toContain('checkout.session.completed');
    expect((await stripe.checkout.sessions.retrieve(session.id)).payment_status).toBe('unpaid');
    await harness.advance(3 * DAY);
    expect(receiver.take()).toContain(type);
    expect((await stripe.checkout.sessions.retrieve(session.id)).payment_status).toBe(status);
  }
});

test('a trial starts with a paid invoice of nothing and then costs the full price', async () => {
  const { stripe, receiver } = harness;
  const { subscription: id, session } = await subscribe(harness, 'pro_monthly', {
    subscription_data: { trial_period_days: 7 },
  });
  expect(session.payment_status).toBe('no_payment_required');
  const trialing = await stripe.subscriptions.retrieve(id, { expand: ['latest_invoice.payments'] });
  expect(trialing.status).toBe('trialing');
  expect(trialing.latest_invoice).toMatchObject({ status: 'paid', total: 0, payments: { data: [] } });
  await harness.advance(4 * DAY + 60);
  expect(receiver.types).toContain('customer.subscription.trial_will_end');
  await harness.advance(3 * DAY + 3600);
  const active = await stripe.subscriptions.retrieve(id, { expand: ['latest_invoice'] });
  expect(active.status).toBe('active');
  expect(active.billing_cycle_anchor).toBe(trialing.trial_end);
  expect(active.latest_invoice).toMatchObject({
    status: 'paid',
    amount_paid: 2000,
    billing_reason: 'subscription_cycle',
  });
});
