import { afterEach, beforeEach, expect, test } from 'vitest';
import { DAY, type Harness, isoOf, nextYearsDate, startHarness, subscribe } from './harness.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  await harness.stop();
  expect(harness.errors).toEqual([]);
});

const itemOf = async (id: string) => (await harness.stripe.subscriptions.retrieve(id)).items.data[0]!;

test('renewals from 31 January fall on the last day of short months and return to the 31st', async () => {
  const { stripe } = harness;
  await harness.advanceTo(nextYearsDate('01-31'));
  const { subscription } = await subscribe(harness);
  const ends: string[] = [];
  for (let month = 0; month < 4; month += 1) {
    const item = await itemOf(subscription);
    ends.push(isoOf(item.current_period_end).slice(5, 10));
    await harness.advanceTo(isoOf(item.current_period_end + 2 * 3600));
  }
  expect(ends[0]).toMatch(/^02-2[89]$/);
  expect(ends.slice(1)).toEqual(['03-31', '04-30', '05-31']);
  const invoices = await stripe.invoices.list({ subscription, limit: 100 });
  expect(invoices.data.map((invoice) => [invoice.billing_reason, invoice.status])).toEqual([
    ...Array.from({ length: 4 }, () => ['subscription_cycle', 'paid']),
    ['subscription_create', 'paid'],
  ]);
});

test('a renewal moves the period first and takes the money an hour later', async () => {
  const { stripe, receiver } = harness;
  const { subscription } = await subscribe(harness);
  const before = await itemOf(subscription);
  receiver.take();
  await harness.advanceTo(isoOf(before.current_period_end));
  const draft = await stripe.subscriptions.retrieve(subscription, { expand: ['latest_invoice'] });
  expect(draft.status).toBe('active');
  expect(draft.items.data[0]!.current_period_start).toBe(before.current_period_end);
  expect(draft.latest_invoice).toMatchObject({ status: 'draft', billing_reason: 'subscription_cycle' });
  const updated = receiver.events.find((event) => event.type === 'customer.subscription.updated');
  expect(Object.keys(updated?.data.previous_attributes ?? {}).sort()).toEqual(['items', 'latest_invoice']);
  expect(receiver.take().sort()).toEqual([
    'customer.subscription.updated',
    'invoice.created',
    'invoice.upcoming',
  ]);
  await harness.advance(3600);
  expect(receiver.take()).toEqual(
    expect.arrayContaining(['invoice.finalized', 'charge.succeeded', 'invoice.paid']),
  );
});

test('a failed renewal is past_due, is tried again after 3 days, and a good card brings it back', async () => {
  const { stripe, receiver, control } = harness;
  const { subscription, customer } = await subscribe(harness);
  await control(`/customers/${customer}/payment`, { outcome: 'insufficient_funds' });
  const { current_period_end: end } = await itemOf(subscription);
  receiver.take();
  await harness.advanceTo(isoOf(end + 3600));
  expect(receiver.take()).toEqual(
    expect.arrayContaining(['charge.failed', 'payment_intent.payment_failed', 'invoice.payment_failed']),
  );
  const failed = await stripe.subscriptions.retrieve(subscription, { expand: ['latest_invoice'] });
  expect(failed.status).toBe('past_due');
  expect(failed.latest_invoice).toMatchObject({
    status: 'open',
    attempt_count: 1,
    next_payment_attempt: end + 3600 + 3 * DAY,
  });
  await control(`/customers/${customer}/payment`, { outcome: 'succeeds' });
  await harness.advance(3 * DAY);
  expect(receiver.take()).toContain('invoice.paid');
  expect((await stripe.subscriptions.retrieve(subscription)).status).toBe('active');
});

test('an unpaid renewal is tried four times in a week and then the subscription is canceled', async () => {
  const { stripe, receiver, control } = harness;
  const { subscription, customer } = await subscribe(harness);
  await control(`/customers/${customer}/payment`, { outcome: 'card_declined' });
  receiver.take();
  const { current_period_end: end } = await itemOf(subscription);
  await harness.advanceTo(isoOf(end + 3600 + 7 * DAY + 60));
  const failures = receiver.events.filter((event) => event.type === 'invoice.payment_failed');
  expect(failures.map((event) => event.created - end - 3600)).toEqual([0, 3 * DAY, 5 * DAY, 7 * DAY]);
  const ended = await stripe.subscriptions.retrieve(subscription);
  expect(ended).toMatchObject({ status: 'canceled', cancellation_details: { reason: 'payment_failed' } });
  expect(receiver.types.at(-1)).toBe('customer.subscription.deleted');
  expect((await stripe.subscriptions.list({ customer })).data).toEqual([]);
  expect((await stripe.subscriptions.list({ customer, status: 'all' })).data).toHaveLength(1);
});

test('dunning can also end in unpaid, and paying the invoice late makes it active again', async () => {
  const { stripe, control } = harness;
  const { subscription, customer } = await subscribe(harness);
  await control('/billing', { afterFinalRetry: 'unpaid', retryDays: [1] });
  await control(`/customers/${customer}/payment`, { outcome: 'card_declined' });
  await harness.advance(31 * DAY + 2 * DAY);
  const unpaid = await stripe.subscriptions.retrieve(subscription);
  expect(unpaid.status).toBe('unpaid');
  await expect(stripe.invoices.pay(String(unpaid.latest_invoice))).rejects.toMatchObject({
    code: 'card_declined',
    statusCode: 402,
  });
  await control(`/customers/${customer}/payment`, { outcome: 'succeeds' });
  expect((await stripe.invoices.pay(String(unpaid.latest_invoice))).status).toBe('paid');
  expect((await stripe.subscriptions.retrieve(subscription)).status).toBe('active');
});

test('dunning can also end in a pause, and paying the invoice late resumes it', async () => {
  const { stripe, control, receiver } = harness;
  const { subscription, customer } = await subscribe(harness);
  await control('/billing', { afterFinalRetry: 'paused', retryDays: [1] });
  await control(`/customers/${customer}/payment`, { outcome: 'card_declined' });
  await harness.advance(31 * DAY + 2 * DAY);
  const paused = await stripe.subscriptions.retrieve(subscription);
  expect(paused).toMatchObject({
    status: 'paused',
    status_details: { paused: { subscription: { type: 'final_payment_failure' } } },
  });
  expect(receiver.types).toContain('customer.subscription.paused');
  await control(`/customers/${customer}/payment`, { outcome: 'succeeds' });
  await stripe.invoices.pay(String(paused.latest_invoice));
  expect((await stripe.subscriptions.retrieve(subscription)).status).toBe('active');
  await control('/delivery/settle');
  expect(receiver.types).toContain('customer.subscription.resumed');
  await harness.advance(31 * DAY);
  expect((await stripe.invoices.list({ customer, status: 'paid' })).data).toHaveLength(3);
});

test('a cancellation at period end sets three fields, can be undone, and otherwise ends it without an invoice', async () => {
  const { stripe, receiver } = harness;
  const { subscription } = await subscribe(harness);
  const { current_period_end: end } = await itemOf(subscription);
  const pending = await stripe.subscriptions.update(subscription, { cancel_at_period_end: true });
  expect(pending).toMatchObject({ cancel_at_period_end: true, cancel_at: end, status: 'active' });
  expect(pending.canceled_at).not.toBeNull();
  const undone = await stripe.subscriptions.update(subscription, { cancel_at_period_end: false });
  expect(undone).toMatchObject({ cancel_at_period_end: false, cancel_at: null, canceled_at: null });
  await stripe.subscriptions.update(subscription, { cancel_at_period_end: true });
  await harness.control('/delivery/settle');
  receiver.take();
  await harness.advanceTo(isoOf(end + 2 * 3600));
  expect(receiver.take()).toEqual(['customer.subscription.deleted']);
  expect(await stripe.subscriptions.retrieve(subscription)).toMatchObject({
    status: 'canceled',
    ended_at: end,
  });
  expect((await stripe.invoices.list({ subscription })).data).toHaveLength(1);
});

test('a cancellation now ends the subscription at once and only once', async () => {
  const { stripe } = harness;
  const { subscription } = await subscribe(harness);
  const ended = await stripe.subscriptions.cancel(subscription);
  expect(ended).toMatchObject({
    status: 'canceled',
    cancellation_details: { reason: 'cancellation_requested' },
  });
  await expect(stripe.subscriptions.cancel(subscription)).rejects.toMatchObject({ code: 'resource_missing' });
  await harness.advance(40 * DAY);
  expect((await stripe.invoices.list({ subscription })).data).toHaveLength(1);
});

test('an upgrade invoiced at once credits the unused month and charges the year', async () => {
  const { stripe } = harness;
  const { subscription } = await subscribe(harness);
  const item = await itemOf(subscription);
  await harness.advanceTo(isoOf((item.current_period_start + item.current_period_end) / 2));
  const upgraded = await stripe.subscriptions.update(subscription, {
    items: [{ id: item.id, price: await harness.price('pro_annual') }],
    proration_behavior: 'always_invoice',
    payment_behavior: 'pending_if_incomplete',
    expand: ['latest_invoice'],
  });
  expect(upgraded.items.data[0]!.price.recurring?.interval).toBe('year');
  expect(upgraded.pending_update).toBeNull();
  const invoice = upgraded.latest_invoice;
  if (typeof invoice !== 'object' || invoice === null) throw new Error('latest_invoice was not expanded');
  expect(invoice).toMatchObject({ status: 'paid', billing_reason: 'subscription_update' });
  const [credit, charge] = invoice.lines.data;
  expect(credit!.amount).toBe(-1000);
  expect(
    credit!.parent?.subscription_item_details?.proration_details?.credited_items?.invoice_line_items,
  ).toHaveLength(1);
  expect(charge!.amount).toBeGreaterThan(19_000);
  expect(invoice.total).toBe(credit!.amount + charge!.amount);
});

test('an upgrade that cannot be paid changes nothing until it is paid, and is forgotten after 23 hours', async () => {
  const { stripe, receiver, control } = harness;
  const { subscription, customer } = await subscribe(harness);
  const item = await itemOf(subscription);
  const upgrade = async () =>
    stripe.subscriptions.update(subscription, {
      items: [{ id: item.id, price: await harness.price('pro_annual') }],
      proration_behavior: 'always_invoice',
      payment_behavior: 'pending_if_incomplete',
    });
  await control(`/customers/${customer}/payment`, { outcome: 'card_declined' });
  const held = await upgrade();
  expect(held.items.data[0]!.price.id).toBe(item.price.id);
  expect(held.pending_update?.subscription_items?.[0]?.price.recurring?.interval).toBe('year');
  expect(held.status).toBe('active');
  await harness.advance(24 * 3600);
  expect(receiver.types).toContain('customer.subscription.pending_update_expired');
  expect((await stripe.invoices.retrieve(String(held.latest_invoice))).status).toBe('void');
  const again = await upgrade();
  await control(`/customers/${customer}/payment`, { outcome: 'succeeds' });
  await stripe.invoices.pay(String(again.latest_invoice));
  const applied = await stripe.subscriptions.retrieve(subscription);
  expect(applied.items.data[0]!.price.recurring?.interval).toBe('year');
  expect(applied.pending_update).toBeNull();
  await control('/delivery/settle');
  expect(receiver.types).toContain('customer.subscription.pending_update_applied');
});

test('a downgrade without proration takes effect with the next invoice', async () => {
  const { stripe } = harness;
  const cheap = await stripe.prices.create({
    currency: 'usd',
    unit_amount: 500,
    recurring: { interval: 'month' },
    product_data: { name: 'Lite' },
  });
  const { subscription } = await subscribe(harness);
  const item = await itemOf(subscription);
  const changed = await stripe.subscriptions.update(subscription, {
    items: [{ id: item.id, price: cheap.id }],
    proration_behavior: 'none',
  });
  expect(changed.items.data[0]!.current_period_end).toBe(item.current_period_end);
  await harness.advanceTo(isoOf(item.current_period_end + 3600));
  const renewed = await stripe.subscriptions.retrieve(subscription, { expand: ['latest_invoice'] });
  expect(renewed.latest_invoice).toMatchObject({ status: 'paid', total: 500 });
});

test('a first payment that fails leaves the subscription incomplete for 23 hours', async () => {
  const { stripe } = harness;
  const customer = await stripe.customers.create({
    payment_method: 'pm_card_chargeCustomerFail',
    invoice_settings: { default_payment_method: 'pm_card_chargeCustomerFail' },
  });
  const subscription = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await harness.price('pro_monthly') }],
  });
  expect(subscription.status).toBe('incomplete');
  await harness.advance(23 * 3600 + 1);
  expect((await stripe.subscriptions.retrieve(subscription.id)).status).toBe('incomplete_expired');
  expect((await stripe.invoices.retrieve(String(subscription.latest_invoice))).status).toBe('void');
});

test('error_if_incomplete answers 402 and leaves nothing behind', async () => {
  const { stripe } = harness;
  const customer = await stripe.customers.create({
    payment_method: 'pm_card_chargeCustomerFail',
    invoice_settings: { default_payment_method: 'pm_card_chargeCustomerFail' },
  });
  await expect(
    stripe.subscriptions.create({
      customer: customer.id,
      items: [{ price: await harness.price('pro_monthly') }],
      payment_behavior: 'error_if_incomplete',
    }),
  ).rejects.toMatchObject({ statusCode: 402, code: 'card_declined', decline_code: 'generic_decline' });
  expect((await stripe.subscriptions.list({ customer: customer.id, status: 'all' })).data).toEqual([]);
});

test('deleting a customer ends its subscriptions and leaves a tombstone', async () => {
  const { stripe } = harness;
  const { customer, subscription } = await subscribe(harness);
  await stripe.customers.del(customer);
  expect(await stripe.customers.retrieve(customer)).toMatchObject({ deleted: true });
  expect((await stripe.subscriptions.retrieve(subscription)).status).toBe('canceled');
});

test('a paused collection makes invoices that nobody pays, and the status stays', async () => {
  const { stripe } = harness;
  const { subscription } = await subscribe(harness);
  for (const [behavior, status] of [
    ['void', 'void'],
    ['mark_uncollectible', 'uncollectible'],
    ['keep_as_draft', 'draft'],
  ] as const) {
    await stripe.subscriptions.update(subscription, { pause_collection: { behavior } });
    const { current_period_end: end } = await itemOf(subscription);
    await harness.advanceTo(isoOf(end + 2 * 3600));
    const [invoice] = (await stripe.invoices.list({ subscription })).data;
    expect(invoice).toMatchObject({ billing_reason: 'subscription_cycle', status });
    expect((await stripe.subscriptions.retrieve(subscription)).status).toBe('active');
  }
});
