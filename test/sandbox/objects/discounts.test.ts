import type Stripe from 'stripe';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DAY, type Harness, isoOf, startHarness } from '../harness.ts';
import { invoiceOf, subscribed } from './scenario.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  await harness.stop();
  expect(harness.errors).toEqual([]);
});

async function totals(subscription: string, renewals: number): Promise<number[]> {
  const { stripe } = harness;
  const seen = [(await invoiceOf(harness, subscription)).total];
  for (let round = 0; round < renewals; round += 1) {
    const { items } = await stripe.subscriptions.retrieve(subscription);
    await harness.advanceTo(isoOf(items.data[0]!.current_period_end + 2 * 3600));
    seen.push((await invoiceOf(harness, subscription)).total);
  }
  return seen;
}

test.each<[Stripe.CouponCreateParams, number[]]>([
  [{ percent_off: 50, duration: 'once' }, [1000, 2000, 2000, 2000]],
  [{ percent_off: 50, duration: 'repeating', duration_in_months: 2 }, [1000, 1000, 2000, 2000]],
  [{ amount_off: 300, currency: 'usd', duration: 'forever' }, [1700, 1700, 1700, 1700]],
])('a coupon lasts as long as it says: %o', async (params, expected) => {
  const coupon = await harness.stripe.coupons.create(params);
  const { id } = await subscribed(harness, { discounts: [{ coupon: coupon.id }] });
  expect(await totals(id, 3)).toEqual(expected);
});

test('a trial does not use up a coupon for one invoice', async () => {
  const coupon = await harness.stripe.coupons.create({ percent_off: 50, duration: 'once' });
  const { id } = await subscribed(harness, { discounts: [{ coupon: coupon.id }], trial_period_days: 7 });
  expect(await totals(id, 2)).toEqual([0, 1000, 2000]);
});

test('one-time prices added to a change wait for the next invoice', async () => {
  const { stripe, price } = harness;
  const { id } = await subscribed(harness);
  await stripe.subscriptions.update(id, { add_invoice_items: [{ price: await price('pack_50') }] });
  expect(await totals(id, 1)).toEqual([2000, 3000]);
});

test('a used-up discount leaves its subscription and says so', async () => {
  const { stripe, receiver } = harness;
  const coupon = await stripe.coupons.create({ percent_off: 50, duration: 'once' });
  const { id } = await subscribed(harness, { discounts: [{ coupon: coupon.id }] });
  await totals(id, 1);
  expect((await stripe.subscriptions.retrieve(id)).discounts).toEqual([]);
  expect(receiver.take()).toEqual(
    expect.arrayContaining(['customer.discount.created', 'customer.discount.deleted']),
  );
});

test('a promotion code redeems its coupon once for whom it is, and then no more', async () => {
  const { stripe } = harness;
  const coupon = await stripe.coupons.create({ percent_off: 20, duration: 'forever' });
  const code = await stripe.promotionCodes.create({
    promotion: { type: 'coupon', coupon: coupon.id },
    code: 'SPRING20',
    max_redemptions: 1,
  });
  const { id } = await subscribed(harness, { discounts: [{ promotion_code: code.id }] });
  const { discounts } = await stripe.subscriptions.retrieve(id, { expand: ['discounts'] });
  expect(discounts[0]).toMatchObject({ promotion_code: code.id, source: { coupon: coupon.id } });
  expect((await invoiceOf(harness, id)).total).toBe(1600);
  expect(await stripe.promotionCodes.retrieve(code.id)).toMatchObject({ times_redeemed: 1, active: false });
  await expect(subscribed(harness, { discounts: [{ promotion_code: code.id }] })).rejects.toMatchObject({
    statusCode: 400,
  });
  expect((await stripe.promotionCodes.list({ code: 'spring20' })).data).toHaveLength(1);
});

test('a promotion code works on Checkout', async () => {
  const { stripe, price, control } = harness;
  const coupon = await stripe.coupons.create({ percent_off: 20, duration: 'once' });
  const code = await stripe.promotionCodes.create({ promotion: { type: 'coupon', coupon: coupon.id } });
  const session = await stripe.checkout.sessions.create({
    mode: 'subscription',
    line_items: [{ price: await price('pro_monthly'), quantity: 1 }],
    discounts: [{ promotion_code: code.id }],
    success_url: 'http://127.0.0.1:1/ok',
  });
  expect(session.amount_total).toBe(1600);
  await control(`/checkout/${session.id}/complete`);
  const { subscription } = await stripe.checkout.sessions.retrieve(session.id);
  expect((await invoiceOf(harness, String(subscription))).amount_paid).toBe(1600);
});

test('Checkout in setup mode keeps the card and takes nothing', async () => {
  const { stripe, control } = harness;
  const customer = await stripe.customers.create({});
  const session = await stripe.checkout.sessions.create({
    mode: 'setup',
    customer: customer.id,
    currency: 'usd',
    success_url: 'http://127.0.0.1:1/ok',
  });
  await control(`/checkout/${session.id}/complete`);
  const done = await stripe.checkout.sessions.retrieve(session.id, { expand: ['setup_intent'] });
  expect(done).toMatchObject({
    status: 'complete',
    payment_status: 'no_payment_required',
    payment_intent: null,
  });
  expect(done.setup_intent).toMatchObject({ status: 'succeeded', customer: customer.id });
  expect((await stripe.paymentMethods.list({ customer: customer.id })).data).toHaveLength(1);
});

test('the features of a product are entitlements while its subscription lives', async () => {
  const { stripe, price, receiver } = harness;
  const { product } = await stripe.prices.retrieve(await price('pro_monthly'));
  const feature = await stripe.entitlements.features.create({ lookup_key: 'export', name: 'Export' });
  await stripe.products.createFeature(String(product), { entitlement_feature: feature.id });
  const { id, customer } = await subscribed(harness);
  const active = await stripe.entitlements.activeEntitlements.list({ customer: String(customer) });
  expect(active.data.map((one) => one.lookup_key)).toEqual(['export']);
  await stripe.subscriptions.cancel(id);
  const after = await stripe.entitlements.activeEntitlements.list({ customer: String(customer) });
  expect(after.data).toEqual([]);
  await harness.control('/delivery/settle');
  const summaries = receiver.events.filter(
    (event) => event.type === 'entitlements.active_entitlement_summary.updated',
  );
  expect(summaries).toHaveLength(2);
  expect(summaries[0]!.data.object).not.toHaveProperty('id');
});

test('a schedule runs its phases and then cancels what it started', async () => {
  const { stripe, price, advance, receiver } = harness;
  const customer = await stripe.customers.create({
    payment_method: 'pm_card_visa',
    invoice_settings: { default_payment_method: 'pm_card_visa' },
  });
  const schedule = await stripe.subscriptionSchedules.create({
    customer: customer.id,
    start_date: 'now',
    end_behavior: 'cancel',
    phases: [
      { items: [{ price: await price('pro_monthly') }], duration: { interval: 'month', interval_count: 1 } },
      {
        items: [{ price: await price('pro_monthly'), quantity: 3 }],
        duration: { interval: 'month', interval_count: 1 },
      },
    ],
  });
  const id = String(schedule.subscription);
  await advance(3600 + 60);
  expect((await invoiceOf(harness, id)).amount_paid).toBe(2000);
  await advance(32 * DAY);
  expect((await invoiceOf(harness, id)).amount_paid).toBe(6000);
  await advance(32 * DAY);
  expect((await stripe.subscriptions.retrieve(id)).status).toBe('canceled');
  expect((await stripe.subscriptionSchedules.retrieve(schedule.id)).status).toBe('completed');
  expect(receiver.take()).toEqual(
    expect.arrayContaining(['subscription_schedule.completed', 'subscription_schedule.expiring']),
  );
});
