import { afterEach, beforeEach, expect, test } from 'vitest';
import { DAY, type Harness, isoOf, startHarness } from '../harness.ts';
import { invoiceOf, linesOf, subscribed } from './scenario.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  await harness.stop();
  expect(harness.errors).toEqual([]);
});

test('a pause stops invoices and credits unused time; a resumption bills a new period from now', async () => {
  const { stripe, receiver, advance, advanceTo } = harness;
  const { id, items, customer } = await subscribed(harness);
  await advance(10 * DAY);
  const paused = await stripe.subscriptions.pause(id, { type: 'subscription' });
  expect(paused.status).toBe('paused');
  expect(paused.status_details?.paused.subscription.type).toBe('pause_requested');
  const [credit] = (await stripe.invoiceItems.list({ customer: String(customer), pending: true })).data;
  expect(credit?.amount).toBeLessThan(0);
  await advanceTo(isoOf(items.data[0]!.current_period_end + DAY));
  expect((await stripe.invoices.list({ subscription: id })).data).toHaveLength(1);
  receiver.take();
  const resumed = await stripe.subscriptions.resume(id, { billing_cycle_anchor: { type: 'now' } });
  expect(resumed.status).toBe('active');
  expect(resumed.status_details).toBeUndefined();
  expect(linesOf(await invoiceOf(harness, id))).toEqual([
    [credit!.amount, true],
    [2000, false],
  ]);
  await harness.control('/delivery/settle');
  expect(receiver.take()).toContain('customer.subscription.resumed');
});

test('a resumption that has to be paid first stays paused and its invoice is voided after 23 hours', async () => {
  const { stripe, control, advance } = harness;
  const { id, customer } = await subscribed(harness);
  await stripe.subscriptions.pause(id, { bill_for: { unused_time_from: { type: 'none' } } });
  await control(`/customers/${String(customer)}/payment`, { outcome: 'card_declined' });
  const tried = await stripe.subscriptions.resume(id, { payment_behavior: 'resume_on_payment_success' });
  expect(tried.status).toBe('paused');
  expect((await invoiceOf(harness, id)).status).toBe('open');
  await advance(24 * 3600);
  expect((await invoiceOf(harness, id)).status).toBe('void');
  expect((await stripe.subscriptions.retrieve(id)).status).toBe('paused');
  await control(`/customers/${String(customer)}/payment`, { outcome: 'succeeds' });
  await stripe.subscriptions.resume(id, { payment_behavior: 'resume_on_payment_success' });
  expect((await stripe.subscriptions.retrieve(id)).status).toBe('active');
});

test('only a paused subscription can be resumed', async () => {
  const { id } = await subscribed(harness);
  await expect(harness.stripe.subscriptions.resume(id)).rejects.toMatchObject({ statusCode: 400 });
});

test('a paused collection goes on by itself on its day', async () => {
  const { stripe, advance } = harness;
  const { id } = await subscribed(harness);
  const resumes = Math.floor(harness.sandbox.now().getTime() / 1000) + 5 * DAY;
  await stripe.subscriptions.update(id, { pause_collection: { behavior: 'void', resumes_at: resumes } });
  await advance(4 * DAY);
  expect((await stripe.subscriptions.retrieve(id)).pause_collection?.behavior).toBe('void');
  await advance(2 * DAY);
  expect((await stripe.subscriptions.retrieve(id)).pause_collection).toBeNull();
});

test('a trial that ends without a way to pay pauses, and a resumption bills it', async () => {
  const { stripe, price } = harness;
  const customer = await stripe.customers.create({});
  const { id } = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await price('pro_monthly') }],
    trial_period_days: 7,
    trial_settings: { end_behavior: { missing_payment_method: 'pause' } },
  });
  const ended = await stripe.subscriptions.update(id, { trial_end: 'now' });
  expect(ended.status_details?.paused.subscription.type).toBe('trial_end_without_payment_method');
  const method = await stripe.paymentMethods.attach('pm_card_visa', { customer: customer.id });
  await stripe.customers.update(customer.id, { invoice_settings: { default_payment_method: method.id } });
  const resumed = await stripe.subscriptions.resume(id);
  expect(resumed.status).toBe('active');
  expect((await invoiceOf(harness, id)).amount_paid).toBe(2000);
});

test('cancel_at takes the ends of periods, and an empty value takes it back', async () => {
  const { stripe } = harness;
  const { id, items } = await subscribed(harness);
  const ends = await stripe.subscriptions.update(id, { cancel_at: 'min_period_end' });
  expect(ends).toMatchObject({
    cancel_at: items.data[0]!.current_period_end,
    cancel_at_period_end: false,
    cancellation_details: { reason: 'cancellation_requested' },
  });
  const undone = await stripe.subscriptions.update(id, { cancel_at: '' });
  expect(undone).toMatchObject({
    cancel_at: null,
    canceled_at: null,
    cancellation_details: { reason: null },
  });
});

test('a sent invoice is due on its day, and unpaid makes the subscription past_due', async () => {
  const { stripe, receiver, advance } = harness;
  const { id } = await subscribed(harness, { collection_method: 'send_invoice', days_until_due: 14 });
  expect((await stripe.subscriptions.retrieve(id)).status).toBe('active');
  await advance(2 * 3600);
  const invoice = await invoiceOf(harness, id);
  expect(invoice.status).toBe('open');
  expect(invoice.due_date! - invoice.status_transitions.finalized_at!).toBe(14 * DAY);
  expect(receiver.take()).toContain('invoice.sent');
  await advance(15 * DAY);
  expect((await stripe.subscriptions.retrieve(id)).status).toBe('past_due');
  expect(receiver.take()).toContain('invoice.overdue');
  await stripe.invoices.pay(invoice.id!, { paid_out_of_band: true });
  expect((await stripe.subscriptions.retrieve(id)).status).toBe('active');
});

test('a schedule made from a subscription changes its plan when the period is over', async () => {
  const { stripe, price, advanceTo, receiver } = harness;
  const { id, items } = await subscribed(harness);
  const schedule = await stripe.subscriptionSchedules.create({ from_subscription: id });
  const end = items.data[0]!.current_period_end;
  const [phase] = schedule.phases;
  await stripe.subscriptionSchedules.update(schedule.id, {
    end_behavior: 'release',
    phases: [
      { items: [{ price: await price('pro_monthly') }], start_date: phase!.start_date, end_date: end },
      { items: [{ price: await price('pro_annual') }], duration: { interval: 'year', interval_count: 1 } },
    ],
  });
  await advanceTo(isoOf(end + 2 * 3600));
  const changed = await stripe.subscriptions.retrieve(id);
  expect(changed.items.data[0]!.price.recurring?.interval).toBe('year');
  expect(changed.schedule).toBe(schedule.id);
  const invoice = await invoiceOf(harness, id);
  expect(linesOf(invoice)).toEqual([[20_000, false]]);
  expect(invoice.status).toBe('paid');
  await stripe.subscriptionSchedules.release(schedule.id);
  expect((await stripe.subscriptions.retrieve(id)).schedule).toBeNull();
  await harness.control('/delivery/settle');
  expect(receiver.take()).toContain('subscription_schedule.released');
});

test('under a schedule a subscription`s end is the schedule`s: changing it directly is refused', async () => {
  const { stripe } = harness;
  const { id } = await subscribed(harness);
  const schedule = await stripe.subscriptionSchedules.create({ from_subscription: id });
  for (const params of [{ cancel_at_period_end: true }, { cancel_at: 'min_period_end' as const }]) {
    await expect(stripe.subscriptions.update(id, params)).rejects.toMatchObject({
      statusCode: 400,
      message: expect.stringContaining(`managed by the subscription schedule \`${schedule.id}\``),
    });
  }
  await stripe.subscriptions.update(id, { cancel_at_period_end: false, metadata: { a: 'b' } });
  await stripe.subscriptionSchedules.release(schedule.id);
  await stripe.subscriptions.update(id, { cancel_at_period_end: true });
});
