import { afterEach, beforeEach, expect, test } from 'vitest';
import { DAY, type Harness, isoOf, startHarness } from '../harness.ts';
import { invoiceOf, linesOf, subscribed, sum } from './scenario.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  await harness.stop();
  expect(harness.errors).toEqual([]);
});

test('a new interval with the anchor kept gives a credit and a charge, both prorations', async () => {
  const { stripe, price } = harness;
  const { id, items } = await subscribed(harness);
  const updated = await stripe.subscriptions.update(id, {
    items: [{ id: items.data[0]!.id, price: await price('pro_annual') }],
    proration_behavior: 'always_invoice',
    proration_date: items.data[0]!.current_period_start,
  });
  const invoice = await invoiceOf(harness, id);
  expect(linesOf(invoice)).toEqual([
    [-2000, true],
    [20_000, true],
  ]);
  expect(updated.billing_cycle_anchor).toBe(items.data[0]!.current_period_start);
  expect(invoice.billing_reason).toBe('subscription_update');
  const credited =
    invoice.lines.data[0]!.parent?.subscription_item_details?.proration_details?.credited_items;
  expect(credited?.invoice_line_items).toHaveLength(1);
});

test('an anchor reset to now credits the rest of the old period and bills a whole new one', async () => {
  const { stripe, advance } = harness;
  const { id, items } = await subscribed(harness);
  await advance(10 * DAY);
  const reset = await stripe.subscriptions.update(id, {
    billing_cycle_anchor: { type: 'now' },
    items: [{ id: items.data[0]!.id, quantity: 2 }],
  });
  const invoice = await invoiceOf(harness, id);
  const [credit, charge] = linesOf(invoice);
  expect(credit![0]).toBeLessThan(0);
  expect(credit![1]).toBe(true);
  expect(charge).toEqual([4000, false]);
  expect(reset.billing_cycle_anchor).toBe(reset.items.data[0]!.current_period_start);
  expect(invoice.status).toBe('paid');
  expect(invoice.amount_paid).toBe(4000 + credit![0]);
});

test('a quantity change waits as invoice items for the next renewal', async () => {
  const { stripe, advanceTo } = harness;
  const { id, items, customer, latest_invoice: first } = await subscribed(harness);
  const item = items.data[0]!;
  await stripe.subscriptionItems.update(item.id, { quantity: 5, proration_date: item.current_period_start });
  const changed = await stripe.subscriptions.retrieve(id);
  expect(changed.latest_invoice).toBe(first);
  expect(changed.items.data[0]!.quantity).toBe(5);
  const pending = await stripe.invoiceItems.list({ customer: String(customer), pending: true });
  expect(pending.data.map((one) => one.amount).sort((a, b) => a - b)).toEqual([-2000, 10_000]);
  expect(pending.data.every((one) => one.proration)).toBe(true);
  await advanceTo(isoOf(item.current_period_end));
  expect((await invoiceOf(harness, id)).total).toBe(8000 + 10_000);
  expect((await stripe.invoiceItems.list({ customer: String(customer), pending: true })).data).toEqual([]);
});

test('a preview names the same lines and total as the change it previews', async () => {
  const { stripe, price, advance } = harness;
  const { id, items } = await subscribed(harness);
  await advance(7 * DAY);
  const details = {
    items: [{ id: items.data[0]!.id, price: await price('pro_annual'), quantity: 3 }],
    proration_behavior: 'always_invoice' as const,
    proration_date: Math.floor(harness.sandbox.now().getTime() / 1000),
  };
  const preview = await stripe.invoices.createPreview({ subscription: id, subscription_details: details });
  expect((await stripe.subscriptions.retrieve(id)).items.data[0]!.quantity).toBe(1);
  await stripe.subscriptions.update(id, details);
  const invoice = await invoiceOf(harness, id);
  expect(linesOf(preview)).toEqual(linesOf(invoice));
  expect(preview.total).toBe(invoice.total);
  expect(preview.amount_due).toBe(invoice.amount_due);
});

test('prorations are net of the discount, and a credit gives back only what was billed', async () => {
  const { stripe, price } = harness;
  const coupon = await stripe.coupons.create({ percent_off: 25, duration: 'forever' });
  const { id, items } = await subscribed(harness, { discounts: [{ coupon: coupon.id }] });
  await stripe.subscriptions.update(id, {
    items: [{ id: items.data[0]!.id, price: await price('pro_annual') }],
    proration_behavior: 'always_invoice',
    proration_date: items.data[0]!.current_period_start,
  });
  const invoice = await invoiceOf(harness, id);
  expect(linesOf(invoice)).toEqual([
    [-1500, true],
    [15_000, true],
  ]);
  expect(sum(invoice.total_discount_amounts?.map((one) => one.amount) ?? [])).toBe(0);
});

test('a change that was never billed is never credited', async () => {
  const { stripe } = harness;
  const { id, items } = await subscribed(harness);
  const item = items.data[0]!;
  await stripe.subscriptions.update(id, {
    items: [{ id: item.id, quantity: 9 }],
    proration_behavior: 'none',
  });
  await stripe.subscriptions.update(id, {
    items: [{ id: item.id, quantity: 1 }],
    proration_behavior: 'always_invoice',
    proration_date: item.current_period_start,
  });
  expect(linesOf(await invoiceOf(harness, id))).toEqual([
    [-2000, true],
    [2000, true],
  ]);
});

test('an anchor ahead bills the stub by the second, and then whole months from the anchor', async () => {
  const { advanceTo } = harness;
  const now = Math.floor(harness.sandbox.now().getTime() / 1000);
  const anchor = now + 10 * DAY;
  const { id, items } = await subscribed(harness, { billing_cycle_anchor: anchor });
  const first = await invoiceOf(harness, id);
  expect(items.data[0]!.current_period_end).toBe(anchor);
  expect(first.total).toBeGreaterThan(Math.floor((2000 * 10) / 31) - 1);
  expect(first.total).toBeLessThan(Math.ceil((2000 * 10) / 28) + 1);
  await advanceTo(isoOf(anchor));
  expect((await invoiceOf(harness, id)).total).toBe(2000);
});

test('the string form of the anchor is refused for endive and taken without a version', async () => {
  const { stripe } = harness;
  const { id } = await subscribed(harness);
  const anchor = 'now' as unknown as { type: 'now' };
  await expect(stripe.subscriptions.update(id, { billing_cycle_anchor: anchor })).rejects.toMatchObject({
    statusCode: 400,
    param: 'billing_cycle_anchor',
    message: 'Invalid object',
  });
  const lenient = await fetch(`${harness.sandbox.url}/v1/subscriptions/${id}`, {
    method: 'POST',
    headers: { authorization: 'Bearer sk_test_x', 'content-type': 'application/x-www-form-urlencoded' },
    body: 'billing_cycle_anchor=now',
  });
  expect(lenient.status).toBe(200);
});

test('a trial ended now with a swap bills the new plan in full at once', async () => {
  const { stripe, price } = harness;
  const { id, items } = await subscribed(harness, { trial_period_days: 14 });
  const swapped = await stripe.subscriptions.update(id, {
    items: [{ id: items.data[0]!.id, price: await price('pro_annual') }],
    trial_end: 'now',
  });
  expect(swapped.status).toBe('active');
  expect(linesOf(await invoiceOf(harness, id))).toEqual([[20_000, false]]);
});
