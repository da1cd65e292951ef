import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Harness, isoOf, startHarness, subscribe } from './harness.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  await harness.stop();
  expect(harness.errors).toEqual([]);
});

async function paidCharge() {
  const { stripe } = harness;
  const { subscription } = await subscribe(harness);
  const { latest_invoice: invoice } = await stripe.subscriptions.retrieve(subscription);
  const [payment] = (await stripe.invoicePayments.list({ invoice: String(invoice) })).data;
  const intent = await stripe.paymentIntents.retrieve(String(payment!.payment.payment_intent));
  return { intent, charge: String(intent.latest_charge), invoice: String(invoice) };
}

test('partial refunds add up on the charge and cannot exceed it', async () => {
  const { stripe, receiver } = harness;
  const { intent, charge } = await paidCharge();
  await stripe.refunds.create({ payment_intent: intent.id, amount: 500 });
  await stripe.refunds.create({ charge, amount: 700, reason: 'requested_by_customer' });
  await expect(stripe.refunds.create({ charge, amount: 801 })).rejects.toMatchObject({ param: 'amount' });
  await stripe.refunds.create({ charge });
  await expect(stripe.refunds.create({ charge })).rejects.toMatchObject({ code: 'charge_already_refunded' });
  const after = await stripe.charges.retrieve(charge, { expand: ['refunds'] });
  expect(after).toMatchObject({ amount_refunded: 2000, refunded: true });
  expect(after.refunds?.data.map((refund) => refund.amount)).toEqual([800, 700, 500]);
  await harness.control('/delivery/settle');
  const cumulative = receiver.events.flatMap((event) =>
    event.type === 'charge.refunded' ? [event.data.object.amount_refunded] : [],
  );
  expect([...cumulative].sort((a, b) => a - b)).toEqual([500, 1200, 2000]);
});

test('a payment leads back to its invoice only through the invoice payments', async () => {
  const { stripe } = harness;
  const { intent, invoice } = await paidCharge();
  expect(intent).not.toHaveProperty('invoice');
  const found = await stripe.invoicePayments.list({
    payment: { type: 'payment_intent', payment_intent: intent.id },
    status: 'paid',
  });
  expect(found.data.map((payment) => payment.invoice)).toEqual([invoice]);
});

test('a chargeback takes the money when it opens and gives it back when it is won', async () => {
  const { stripe, receiver, control } = harness;
  const { charge } = await paidCharge();
  receiver.take();
  const dispute = await control(`/charges/${charge}/dispute`, { amount: 1500, reason: 'fraudulent' });
  expect(receiver.take().sort()).toEqual(['charge.dispute.created', 'charge.dispute.funds_withdrawn']);
  await expect(stripe.refunds.create({ charge })).rejects.toMatchObject({ code: 'charge_disputed' });
  await control(`/disputes/${dispute.id}/close`, { status: 'won' });
  expect(receiver.take().sort()).toEqual(['charge.dispute.closed', 'charge.dispute.funds_reinstated']);
  const closed = await stripe.disputes.retrieve(String(dispute.id));
  expect(closed).toMatchObject({ status: 'won', amount: 1500 });
  expect(closed.balance_transactions.map((one) => one.amount)).toEqual([-1500, 1500]);
});

test('an inquiry moves no money', async () => {
  const { receiver, control } = harness;
  const { charge } = await paidCharge();
  receiver.take();
  const dispute = await control(`/charges/${charge}/dispute`, { inquiry: true });
  expect(dispute.status).toBe('warning_needs_response');
  await control(`/disputes/${dispute.id}/close`, { status: 'lost' });
  expect(receiver.take()).toEqual(['charge.dispute.created', 'charge.dispute.closed']);
});

test('test cards fail where Stripe says they fail', async () => {
  const { stripe } = harness;
  const customer = await stripe.customers.create({});
  const pay = (method: string) =>
    stripe.paymentIntents.create({
      amount: 100,
      currency: 'usd',
      payment_method: method,
      confirm: true,
    });
  expect((await pay('pm_card_visa')).status).toBe('succeeded');
  expect((await pay('pm_card_threeDSecure2Required')).status).toBe('requires_action');
  await expect(pay('pm_card_visa_chargeDeclined')).rejects.toMatchObject({
    statusCode: 402,
    code: 'card_declined',
    decline_code: 'generic_decline',
  });
  await expect(pay('pm_card_visa_chargeDeclinedInsufficientFunds')).rejects.toMatchObject({
    decline_code: 'insufficient_funds',
  });
  await expect(
    stripe.paymentMethods.attach('pm_card_visa_chargeDeclined', { customer: customer.id }),
  ).rejects.toMatchObject({ statusCode: 402 });
  expect(
    (await stripe.paymentMethods.attach('pm_card_chargeCustomerFail', { customer: customer.id })).customer,
  ).toBe(customer.id);
});

test('a downgrade invoiced at once becomes customer balance, and the next invoice uses it', async () => {
  const { stripe } = harness;
  const { subscription, customer } = await subscribe(harness, 'pro_annual');
  const item = (await stripe.subscriptions.retrieve(subscription)).items.data[0]!;
  await stripe.subscriptions.update(subscription, {
    items: [{ id: item.id, price: await harness.price('pro_monthly') }],
    proration_behavior: 'always_invoice',
  });
  const { balance } = (await stripe.customers.retrieve(customer)) as { balance: number };
  expect(balance).toBeLessThan(-17_000);
  const month = (await stripe.subscriptions.retrieve(subscription)).items.data[0]!;
  await harness.advanceTo(isoOf(month.current_period_end + 3600));
  const [renewal] = (await stripe.invoices.list({ subscription })).data;
  expect(renewal).toMatchObject({
    status: 'paid',
    total: 2000,
    amount_due: 0,
    amount_paid: 0,
    starting_balance: balance,
  });
  expect(await stripe.customers.retrieve(customer)).toMatchObject({ balance: balance + 2000 });
});

test('a preview shows the proration and leaves no trace', async () => {
  const { stripe } = harness;
  const { subscription } = await subscribe(harness);
  const item = (await stripe.subscriptions.retrieve(subscription)).items.data[0]!;
  const before = (await stripe.events.list({ limit: 100 })).data.length;
  const preview = await stripe.invoices.createPreview({
    subscription,
    subscription_details: {
      items: [{ id: item.id, price: await harness.price('pro_annual') }],
      proration_behavior: 'always_invoice',
    },
  });
  expect(preview.lines.data.map((line) => Math.sign(line.amount))).toEqual([-1, 1]);
  expect((await stripe.events.list({ limit: 100 })).data).toHaveLength(before);
  expect((await stripe.invoices.list({ subscription })).data).toHaveLength(1);
});

test('the portal page cancels at the period end with cancel_at alone, and undoes it', async () => {
  const { stripe } = harness;
  const { subscription, customer } = await subscribe(harness);
  const portal = await stripe.billingPortal.sessions.create({
    customer,
    return_url: 'http://127.0.0.1:1/back',
  });
  const page = await (await fetch(portal.url)).text();
  expect(page).toContain('active');
  expect(page).toContain('href="http://127.0.0.1:1/back"');
  const submit = (action: string) =>
    fetch(portal.url, {
      method: 'POST',
      body: new URLSearchParams({ subscription, action }),
      redirect: 'manual',
    });
  expect((await submit('cancel')).status).toBe(303);
  const item = (await stripe.subscriptions.retrieve(subscription)).items.data[0]!;
  expect(await stripe.subscriptions.retrieve(subscription)).toMatchObject({
    cancel_at_period_end: false,
    cancel_at: item.current_period_end,
  });
  await submit('undo');
  expect(await stripe.subscriptions.retrieve(subscription)).toMatchObject({
    cancel_at: null,
    canceled_at: null,
  });
});

test('ad-hoc invoices collect the pending items and pay as the CLI triggers do', async () => {
  const { stripe } = harness;
  const customer = await stripe.customers.create({});
  const method = await stripe.paymentMethods.attach('pm_card_visa', { customer: customer.id });
  await stripe.invoiceItems.create({ customer: customer.id, amount: 2000, currency: 'usd' });
  const invoice = await stripe.invoices.create({
    customer: customer.id,
    pending_invoice_items_behavior: 'include',
  });
  expect(invoice).toMatchObject({ status: 'draft', total: 2000, parent: null, billing_reason: 'manual' });
  expect(await stripe.invoices.pay(invoice.id, { payment_method: method.id })).toMatchObject({
    status: 'paid',
    amount_paid: 2000,
  });
  const lines = await stripe.invoices.listLineItems(invoice.id);
  expect(lines.data[0]!.parent?.type).toBe('invoice_item_details');
});

test('a renewal that needs authentication is settled on the hosted invoice page', async () => {
  const { stripe, receiver, control } = harness;
  const { subscription, customer } = await subscribe(harness);
  await control(`/customers/${customer}/payment`, { outcome: 'requires_action' });
  const item = (await stripe.subscriptions.retrieve(subscription)).items.data[0]!;
  await harness.advanceTo(isoOf(item.current_period_end + 3600));
  expect(receiver.take()).toEqual(
    expect.arrayContaining([
      'payment_intent.requires_action',
      'invoice.payment_failed',
      'invoice.payment_action_required',
    ]),
  );
  const [invoice] = (await stripe.invoices.list({ subscription, status: 'open' })).data;
  const paid = await fetch(invoice!.hosted_invoice_url!, {
    method: 'POST',
    body: new URLSearchParams({ outcome: 'succeeds' }),
  });
  expect(await paid.text()).toContain('Status: paid');
  expect((await stripe.subscriptions.retrieve(subscription)).status).toBe('active');
});

test('a subscription created incomplete becomes active when its payment is confirmed', async () => {
  const { stripe } = harness;
  const customer = await stripe.customers.create({});
  const subscription = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await harness.price('pro_monthly') }],
    payment_behavior: 'default_incomplete',
    expand: ['latest_invoice.confirmation_secret'],
  });
  expect(subscription).toMatchObject({
    status: 'incomplete',
    latest_invoice: { status: 'open', attempt_count: 0 },
  });
  const [intent] = (await stripe.paymentIntents.list({ customer: customer.id })).data;
  expect(subscription.latest_invoice).toMatchObject({
    confirmation_secret: { client_secret: intent!.client_secret },
  });
  await stripe.paymentIntents.confirm(intent!.id, { payment_method: 'pm_card_visa' });
  expect((await stripe.subscriptions.retrieve(subscription.id)).status).toBe('active');
});

test('a one-off payment is finished on the page of the bank', async () => {
  const { stripe } = harness;
  const intent = await stripe.paymentIntents.create({
    amount: 700,
    currency: 'usd',
    payment_method: 'pm_card_threeDSecure2Required',
    confirm: true,
    return_url: 'http://127.0.0.1:1/back',
  });
  const bank = intent.next_action?.redirect_to_url?.url ?? '';
  const done = await fetch(bank, {
    method: 'POST',
    body: new URLSearchParams({ outcome: 'succeeds' }),
    redirect: 'manual',
  });
  expect(done.headers.get('location')).toBe('http://127.0.0.1:1/back');
  expect((await stripe.paymentIntents.retrieve(intent.id)).status).toBe('succeeded');
});

test('a coupon for one invoice does not touch the renewal', async () => {
  const { stripe } = harness;
  const coupon = await stripe.coupons.create({ percent_off: 50, duration: 'once' });
  const { subscription, session } = await subscribe(harness, 'pro_monthly', {
    discounts: [{ coupon: coupon.id }],
  });
  expect(session).toMatchObject({ amount_total: 1000, total_details: { amount_discount: 1000 } });
  const item = (await stripe.subscriptions.retrieve(subscription)).items.data[0]!;
  await harness.advanceTo(isoOf(item.current_period_end + 3600));
  const invoices = await stripe.invoices.list({ subscription });
  expect(invoices.data.map((invoice) => invoice.amount_paid)).toEqual([2000, 1000]);
});
