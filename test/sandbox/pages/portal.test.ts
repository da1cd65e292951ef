import type Stripe from 'stripe';
import { expect } from 'vitest';
import { DAY, subscribe } from '../harness.ts';
import { expectNamedControls, inBrowser, useVisitor } from './browser.ts';

const here = useVisitor();

const FEATURES: Stripe.BillingPortal.ConfigurationCreateParams.Features = {
  customer_update: { enabled: true, allowed_updates: ['email', 'name'] },
  invoice_history: { enabled: true },
  payment_method_update: { enabled: true },
  subscription_cancel: {
    enabled: true,
    cancellation_reason: { enabled: true, options: ['too_expensive', 'other'] },
  },
  subscription_update: {
    enabled: true,
    default_allowed_updates: ['price', 'quantity'],
    proration_behavior: 'always_invoice',
  },
};

/** A subscriber in the Portal, with a configuration of these features. */
async function arrive(
  changes: Partial<Stripe.BillingPortal.ConfigurationCreateParams.Features> = {},
  flow?: (subscription: Stripe.Subscription) => Promise<Stripe.BillingPortal.SessionCreateParams.FlowData>,
) {
  const { harness, page, shop } = here();
  const { stripe } = harness;
  const { customer, subscription: id } = await subscribe(harness);
  const configuration = await stripe.billingPortal.configurations.create({
    features: { ...FEATURES, ...changes },
  });
  const subscription = await stripe.subscriptions.retrieve(id);
  const session = await stripe.billingPortal.sessions.create({
    customer,
    configuration: configuration.id,
    return_url: `${shop}/account`,
    ...(flow === undefined ? {} : { flow_data: await flow(subscription) }),
  });
  await page.goto(session.url);
  await expectNamedControls(page);
  harness.receiver.take();
  const now = () => stripe.subscriptions.retrieve(id);
  return { customer, id, subscription, session, now, stripe };
}

const dateOf = (seconds: number): string =>
  new Intl.DateTimeFormat('en-US', { dateStyle: 'medium', timeZone: 'UTC' }).format(seconds * 1000);

inBrowser('cancel at the period`s end sets only cancel_at; undo clears it; return leads back', async () => {
  const { page, harness, shop } = here();
  const { subscription, now } = await arrive();
  const end = subscription.items.data[0]!.current_period_end;
  expect(await page.getByText(`Renews on ${dateOf(end)}`).count()).toBe(1);
  await page.getByRole('link', { name: 'Cancel subscription' }).click();
  await expectNamedControls(page);
  await page.getByLabel('Why do you cancel?').selectOption({ label: "It's too expensive" });
  await page.getByLabel('Anything else?').fill('Bye <b>');
  await page.getByRole('button', { name: 'Cancel subscription' }).click();
  expect(await page.getByRole('status').textContent()).toBe('Your cancellation has been saved.');
  expect(await page.getByText(`Cancels on ${dateOf(end)}`).count()).toBe(1);
  expect(await now()).toMatchObject({
    status: 'active',
    cancel_at: end,
    cancel_at_period_end: false,
    cancellation_details: { feedback: 'too_expensive', comment: 'Bye <b>', reason: 'cancellation_requested' },
  });
  await page.getByRole('button', { name: "Don't cancel subscription" }).click();
  expect(await now()).toMatchObject({ cancel_at: null, cancel_at_period_end: false, canceled_at: null });
  await harness.control('/delivery/settle');
  expect(harness.receiver.take()).toEqual(['customer.subscription.updated', 'customer.subscription.updated']);
  await page.getByRole('link', { name: 'Return' }).click();
  await page.waitForURL(`${shop}/account`);
});

inBrowser('a cancellation through the API is undone as a whole', async () => {
  const { page } = here();
  const { id, now, stripe } = await arrive();
  await stripe.subscriptions.update(id, { cancel_at_period_end: true });
  await page.reload();
  await page.getByRole('button', { name: "Don't cancel subscription" }).click();
  expect(await now()).toMatchObject({ cancel_at: null, cancel_at_period_end: false });
});

inBrowser('cancel at once, if the configuration says so', async () => {
  const { page } = here();
  const { now } = await arrive({ subscription_cancel: { enabled: true, mode: 'immediately' } });
  await page.getByRole('link', { name: 'Cancel subscription' }).click();
  expect(await page.getByText('Your subscription ends at once.').count()).toBe(1);
  await page.getByRole('button', { name: 'Cancel subscription' }).click();
  expect(await page.getByText('You have no subscription.').count()).toBe(1);
  expect((await now()).status).toBe('canceled');
});

inBrowser('the preview of a plan change is what is then paid', async () => {
  const { page, harness } = here();
  const { now, stripe } = await arrive();
  await harness.advance(10 * DAY);
  await page.getByRole('link', { name: 'Change plan' }).click();
  await expectNamedControls(page);
  expect(await page.getByRole('radio').count()).toBe(2);
  await page.getByLabel(/\$200\.00 per year/).check();
  await page.getByRole('button', { name: 'Continue' }).click();
  const due = (await page.locator('tr.total td').last().textContent()) ?? '';
  expect(due).toMatch(/^\$18\d\.\d\d$/);
  await page.getByRole('button', { name: 'Confirm' }).click();
  expect(await page.getByRole('status').textContent()).toBe('Your plan has been changed.');
  const changed = await now();
  expect(changed.items.data[0]!.price.recurring?.interval).toBe('year');
  const invoice = await stripe.invoices.retrieve(String(changed.latest_invoice));
  expect(invoice).toMatchObject({ status: 'paid', billing_reason: 'subscription_update' });
  expect(`$${(invoice.amount_paid / 100).toFixed(2)}`).toBe(due);
  expect(await page.locator('.price').textContent()).toBe('$200.00 per year');
});

inBrowser('a change that the card does not pay is not live until its invoice is paid', async () => {
  const { page } = here();
  const { now, stripe, id } = await arrive();
  await page.getByRole('link', { name: 'Change payment method' }).click();
  await page.getByLabel(/0341/).check();
  await page.getByRole('button', { name: 'Save' }).click();
  expect(await page.getByText('Visa •••• 0341').count()).toBeGreaterThan(0);
  await page.getByRole('link', { name: 'Change plan' }).click();
  await page.getByLabel(/per year/).check();
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('button', { name: 'Confirm' }).click();
  expect(await page.getByRole('alert').textContent()).toContain('Your card was declined.');
  const waiting = await now();
  expect(waiting.pending_update).not.toBeNull();
  expect(waiting.items.data[0]!.price.recurring?.interval).toBe('month');
  await page.getByLabel(/4242/).check();
  await page.getByRole('button', { name: /^Pay/ }).click();
  expect(await page.getByRole('status').textContent()).toContain('This invoice is paid');
  const changed = await stripe.subscriptions.retrieve(id);
  expect(changed.pending_update).toBeNull();
  expect(changed.items.data[0]!.price.recurring?.interval).toBe('year');
});

inBrowser('a downgrade waits for the period`s end where the configuration says so', async () => {
  const { page, harness } = here();
  const { now, id, stripe } = await arrive({
    subscription_update: {
      enabled: true,
      default_allowed_updates: ['price', 'quantity'],
      proration_behavior: 'always_invoice',
      schedule_at_period_end: { conditions: [{ type: 'decreasing_item_amount' }] },
    },
  });
  const item = (await now()).items.data[0]!;
  await stripe.subscriptions.update(id, {
    items: [{ id: item.id, quantity: 3 }],
    proration_behavior: 'none',
  });
  await page.getByRole('link', { name: 'Change plan' }).click();
  await page.getByLabel('Quantity').fill('1');
  await page.getByRole('button', { name: 'Continue' }).click();
  expect(await page.getByText(/Nothing is due today/).count()).toBe(1);
  await page.getByRole('button', { name: 'Confirm' }).click();
  expect(await page.getByRole('status').textContent()).toContain('at the end of the present period');
  const scheduled = await now();
  expect(scheduled.schedule).toMatch(/^sub_sched_/);
  expect(scheduled.items.data[0]!.quantity).toBe(3);
  await harness.advance(32 * DAY);
  expect((await now()).items.data[0]!.quantity).toBe(1);
});

inBrowser('a new card pays the renewals; a refused or unauthenticated one is not kept', async () => {
  const { page } = here();
  const { customer, now, stripe } = await arrive();
  const choose = async (last4: RegExp): Promise<void> => {
    await page.getByLabel(last4).check();
    await page.getByRole('button', { name: 'Save' }).click();
  };
  await page.getByRole('link', { name: 'Change payment method' }).click();
  await choose(/0002/);
  expect(await page.getByRole('alert').textContent()).toBe('Your card was declined.');
  await choose(/3220/);
  await page.getByRole('button', { name: 'Fail authentication' }).click();
  expect(await page.getByRole('alert').textContent()).toContain('unable to authenticate');
  await choose(/3220/);
  await page.getByRole('button', { name: 'Complete authentication' }).click();
  expect(await page.getByText('Visa •••• 3220').count()).toBeGreaterThan(0);
  const { data } = await stripe.paymentMethods.list({ customer });
  expect(data.map(({ card }) => card?.last4)).toEqual(['3220', '4242']);
  expect((await now()).default_payment_method).toBe(data[0]!.id);
  const { invoice_settings: settings } = (await stripe.customers.retrieve(customer)) as Stripe.Customer;
  expect(settings.default_payment_method).toBe(data[0]!.id);
});

inBrowser('invoices are listed; a failed renewal is paid from there', async () => {
  const { page, harness } = here();
  const { customer, now } = await arrive();
  await harness.control(`/customers/${customer}/payment`, { outcome: 'insufficient_funds' });
  await harness.advance(32 * DAY);
  expect((await now()).status).toBe('past_due');
  await page.reload();
  expect(await page.getByRole('table').last().locator('tbody tr').count()).toBe(2);
  await page.getByRole('link', { name: /^Pay invoice/ }).click();
  expect(await page.getByRole('alert').textContent()).toContain('Your card has insufficient funds.');
  await expectNamedControls(page);
  await page.getByLabel(/4242/).check();
  await page.getByRole('button', { name: 'Pay $20.00' }).click();
  expect(await page.getByRole('status').textContent()).toContain('This invoice is paid');
  expect((await now()).status).toBe('active');
});

inBrowser('details are changed as far as the configuration allows', async () => {
  const { page } = here();
  const { customer, stripe } = await arrive();
  await page.getByRole('link', { name: 'Change details' }).click();
  expect(await page.getByLabel('Phone').count()).toBe(0);
  await page.getByLabel('Email').fill('countess@example.com');
  await page.getByRole('button', { name: 'Save' }).click();
  expect(await page.getByText('countess@example.com').count()).toBe(1);
  expect(await stripe.customers.retrieve(customer)).toMatchObject({
    email: 'countess@example.com',
    name: 'Ada',
  });
});

inBrowser('what is switched off is neither shown nor done', async () => {
  const { page } = here();
  const { session, id, now } = await arrive({
    subscription_cancel: { enabled: false },
    subscription_update: { enabled: false },
    payment_method_update: { enabled: false },
    invoice_history: { enabled: false },
    customer_update: { enabled: false },
  });
  expect(await page.getByRole('link').allTextContents()).toEqual(['← Return']);
  expect(await page.getByRole('button').count()).toBe(0);
  const forged = await fetch(session.url, {
    method: 'POST',
    body: new URLSearchParams({ action: 'cancel', subscription: id }),
  });
  expect(forged.status).toBe(403);
  expect((await now()).cancel_at).toBeNull();
});

inBrowser('the flows open on their step and end as they were told to', async () => {
  const { page, shop } = here();
  const cancel = await arrive({}, async ({ id }) => ({
    type: 'subscription_cancel',
    subscription_cancel: { subscription: id },
    after_completion: { type: 'redirect', redirect: { return_url: `${shop}/left` } },
  }));
  await page.getByRole('button', { name: 'Cancel subscription' }).click();
  await page.waitForURL(`${shop}/left`);
  expect((await cancel.now()).cancel_at).not.toBeNull();

  const confirm = await arrive({}, async ({ id, items }) => ({
    type: 'subscription_update_confirm',
    subscription_update_confirm: {
      subscription: id,
      items: [{ id: items.data[0]!.id, price: await here().harness.price('pro_annual'), quantity: 1 }],
    },
    after_completion: { type: 'hosted_confirmation', hosted_confirmation: { custom_message: 'Enjoy.' } },
  }));
  expect(await page.getByRole('heading').first().textContent()).toBe('Confirm your updates');
  await page.getByRole('button', { name: 'Confirm' }).click();
  expect(await page.getByText('Enjoy.').count()).toBe(1);
  expect((await confirm.now()).items.data[0]!.price.recurring?.interval).toBe('year');

  await arrive({}, async ({ id }) => ({
    type: 'subscription_update',
    subscription_update: { subscription: id },
  }));
  expect(await page.getByRole('heading').first().textContent()).toBe('Change plan');

  await arrive({}, async () => ({ type: 'payment_method_update' }));
  expect(await page.getByRole('heading').first().textContent()).toBe('Change payment method');
  await page.getByRole('button', { name: 'Save' }).click();
  expect(await page.getByRole('status').textContent()).toBe('Your payment method has been changed.');
});
