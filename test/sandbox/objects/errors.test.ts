import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Harness, startHarness } from '../harness.ts';
import { subscribed } from './scenario.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  await harness.stop();
  expect(harness.errors).toEqual([]);
});

async function post(path: string, body: string, version?: string): Promise<Record<string, unknown>> {
  const answer = await fetch(`${harness.sandbox.url}/v1${path}`, {
    method: 'POST',
    headers: {
      authorization: 'Bearer sk_test_x',
      'content-type': 'application/x-www-form-urlencoded',
      ...(version === undefined ? {} : { 'stripe-version': version }),
    },
    body,
  });
  const { error } = (await answer.json()) as { error?: Record<string, unknown> };
  return { status: answer.status, ...error };
}

test.each([
  [
    '/subscriptions',
    'items[0][price]=nope&customer=CUS',
    400,
    'resource_missing',
    'items[0][price]',
    "No such price: 'nope'",
  ],
  [
    '/subscriptions',
    'items[0][price]=x&customer=cus_no',
    400,
    'resource_missing',
    'customer',
    "No such customer: 'cus_no'",
  ],
  ['/subscriptions', 'customer=CUS', 400, 'parameter_missing', 'items', 'Missing required param: items.'],
  ['/customers', 'nonsense=1', 400, 'parameter_unknown', 'nonsense', 'Received unknown parameter: nonsense'],
  ['/customers/cus_no', 'name=x', 404, 'resource_missing', 'id', "No such customer: 'cus_no'"],
  [
    '/coupons',
    'duration=repeating&percent_off=10',
    400,
    'parameter_missing',
    'duration_in_months',
    undefined,
  ],
  [
    '/payment_intents',
    'amount=10&currency=usd',
    400,
    'amount_too_small',
    'amount',
    'Amount must be at least $0.50 usd',
  ],
  [
    '/payment_intents',
    'amount=x&currency=usd',
    400,
    'parameter_invalid_integer',
    'amount',
    'Invalid integer: x',
  ],
  ['/prices', 'currency=usd&unit_amount=5', 400, 'parameter_missing', 'product', undefined],
  ['/credit_notes', 'invoice=in_no&amount=5', 400, 'resource_missing', 'invoice', "No such invoice: 'in_no'"],
  [
    '/subscription_schedules',
    'from_subscription=sub_no',
    400,
    'resource_missing',
    'from_subscription',
    undefined,
  ],
])('POST %s with %s is refused as Stripe refuses it', async (path, body, status, code, param, message) => {
  const customer = await harness.stripe.customers.create({});
  const error = await post(path, body.replace('CUS', customer.id));
  expect(error).toMatchObject({ status, type: 'invalid_request_error', code, param });
  if (message !== undefined) expect(error.message).toBe(message);
  expect(error.doc_url).toBe(`https://stripe.com/docs/error-codes/${code.replaceAll('_', '-')}`);
});

test('a valid parameter that the sandbox does not model is refused by name, not ignored', async () => {
  const { id } = await subscribed(harness);
  expect(await post(`/subscriptions/${id}`, 'application_fee_percent=10')).toMatchObject({
    status: 400,
    param: 'application_fee_percent',
    message: 'This sandbox does not model this parameter: application_fee_percent',
  });
});

test('a declined card is named by code, decline code and advice, and the intent tells it too', async () => {
  const error = await post(
    '/payment_intents',
    'amount=500&currency=usd&payment_method=pm_card_chargeDeclinedLostCard&confirm=true',
  );
  expect(error).toMatchObject({
    status: 402,
    type: 'card_error',
    code: 'card_declined',
    decline_code: 'lost_card',
    advice_code: 'do_not_try_again',
    payment_intent: { status: 'requires_payment_method', last_payment_error: { decline_code: 'lost_card' } },
  });
});

test('a finalized invoice cannot be edited, deleted, or finalized again', async () => {
  const { stripe } = harness;
  const { latest_invoice: invoice } = await subscribed(harness);
  const id = String(invoice);
  await expect(stripe.invoices.finalizeInvoice(id)).rejects.toMatchObject({ code: 'invoice_not_editable' });
  await expect(stripe.invoices.del(id)).rejects.toMatchObject({ statusCode: 400 });
  await expect(stripe.invoices.voidInvoice(id)).rejects.toMatchObject({ statusCode: 400 });
  await expect(stripe.invoices.pay(id)).rejects.toMatchObject({ statusCode: 400 });
});

test('an update that waits for its payment takes only what such an update may change', async () => {
  const { id, items } = await subscribed(harness);
  await expect(
    harness.stripe.subscriptions.update(id, {
      items: [{ id: items.data[0]!.id, quantity: 2 }],
      payment_behavior: 'pending_if_incomplete',
      metadata: { a: 'b' },
    }),
  ).rejects.toMatchObject({ param: 'metadata' });
});

test('error_if_incomplete leaves a subscription as it was', async () => {
  const { stripe, price, control } = harness;
  const before = await subscribed(harness);
  await control(`/customers/${String(before.customer)}/payment`, { outcome: 'card_declined' });
  await expect(
    stripe.subscriptions.update(before.id, {
      items: [{ id: before.items.data[0]!.id, price: await price('pro_annual') }],
      proration_behavior: 'always_invoice',
      payment_behavior: 'error_if_incomplete',
    }),
  ).rejects.toMatchObject({ statusCode: 402, code: 'card_declined' });
  expect(await stripe.subscriptions.retrieve(before.id)).toMatchObject({
    status: 'active',
    latest_invoice: before.latest_invoice,
    quantity: 1,
  });
  expect((await stripe.invoices.list({ subscription: before.id })).data).toHaveLength(1);
});
