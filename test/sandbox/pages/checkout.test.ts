import type Stripe from 'stripe';
import { expect } from 'vitest';
import { DAY } from '../harness.ts';
import { expectNamedControls, inBrowser, useVisitor, type Visitor } from './browser.ts';

const here = useVisitor();

async function open(
  { harness, page, shop }: Visitor,
  lookupKey: string,
  extra: Stripe.Checkout.SessionCreateParams = {},
): Promise<Stripe.Checkout.Session> {
  const session = await harness.stripe.checkout.sessions.create({
    mode: lookupKey.startsWith('pack') ? 'payment' : 'subscription',
    line_items: [{ price: await harness.price(lookupKey), quantity: 1 }],
    success_url: `${shop}/done?session={CHECKOUT_SESSION_ID}`,
    cancel_url: `${shop}/cancelled`,
    ...extra,
  });
  await page.goto(session.url!);
  await expectNamedControls(page);
  return session;
}

inBrowser('a person is declined, reads why, chooses another card and has a subscription', async () => {
  const { harness, page, shop } = here();
  const { id } = await open(here(), 'pro_monthly');
  expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Subscribe to Pro');
  expect(await page.locator('.price').textContent()).toBe('$20.00 per month');
  await page.getByLabel('Email').fill('ada@example.com');
  await page.getByLabel('Name on card').fill('Ada <Lovelace>');
  await page.getByLabel(/9995/).check();
  await page.getByRole('button', { name: 'Subscribe' }).click();
  expect(await page.getByRole('alert').textContent()).toBe('Your card has insufficient funds.');
  await page.getByLabel(/4242/).check();
  await page.getByRole('button', { name: 'Subscribe' }).click();
  await page.waitForURL(`${shop}/done?session=${id}`);
  const session = await harness.stripe.checkout.sessions.retrieve(id, { expand: ['subscription'] });
  expect(session).toMatchObject({
    status: 'complete',
    payment_status: 'paid',
    customer_details: { email: 'ada@example.com', name: 'Ada <Lovelace>' },
    subscription: { status: 'active' },
  });
  await page.goto(`${harness.sandbox.url}/c/pay/${id}`);
  expect(await page.getByRole('heading').textContent()).toBe('You are all done here');
});

inBrowser('3-D Secure can fail and be tried again', async () => {
  const { harness, page, shop } = here();
  const { id } = await open(here(), 'pro_monthly', { customer_email: 'ada@example.com' });
  expect(await page.getByText('Paying as ada@example.com').count()).toBe(1);
  for (const answer of ['Fail authentication', 'Complete authentication']) {
    await page.getByLabel(/3220/).check();
    await page.getByRole('button', { name: 'Subscribe' }).click();
    expect(await page.getByRole('heading').textContent()).toBe('3-D Secure authentication');
    await page.getByRole('button', { name: answer }).click();
    if (answer.startsWith('Fail'))
      expect(await page.getByRole('alert').textContent()).toContain('unable to authenticate');
  }
  await page.waitForURL(`${shop}/done?session=${id}`);
  const { subscription } = await harness.stripe.checkout.sessions.retrieve(id, {
    expand: ['subscription.default_payment_method'],
  });
  expect(subscription).toMatchObject({
    status: 'active',
    default_payment_method: { card: { last4: '3220' } },
  });
});

inBrowser('whoever goes back has bought nothing and can come again', async () => {
  const { harness, page, shop } = here();
  const { id, url } = await open(here(), 'pro_annual');
  await page.getByRole('link', { name: 'Cancel and go back' }).click();
  await page.waitForURL(`${shop}/cancelled`);
  expect((await harness.stripe.checkout.sessions.retrieve(id)).status).toBe('open');
  await page.goto(url!);
  expect(await page.locator('.price').textContent()).toBe('$200.00 per year');
  await harness.advance(DAY + 60);
  await page.reload();
  expect(await page.getByRole('heading').textContent()).toBe('This Checkout session has expired');
});

inBrowser('a trial says what it costs afterwards; its card may fail later', async () => {
  const { harness, page, shop } = here();
  const { id } = await open(here(), 'pro_monthly', { subscription_data: { trial_period_days: 7 } });
  expect(await page.locator('.price').textContent()).toBe('7 days free');
  expect(await page.getByText(/Then \$20\.00 per month, starting/).count()).toBe(1);
  await page.getByLabel('Email').fill('ada@example.com');
  await page.getByLabel(/0341/).check();
  await page.getByRole('button', { name: 'Start trial' }).click();
  await page.waitForURL(`${shop}/done?session=${id}`);
  const session = await harness.stripe.checkout.sessions.retrieve(id);
  expect(session.payment_status).toBe('no_payment_required');
  await harness.advance(8 * DAY);
  const { status } = await harness.stripe.subscriptions.retrieve(String(session.subscription));
  expect(status).toBe('past_due');
});

inBrowser('a promotion code is refused, taken, removed and taken again', async () => {
  const { harness, page, shop } = here();
  const { stripe } = harness;
  const coupon = await stripe.coupons.create({ percent_off: 25, duration: 'once' });
  await stripe.promotionCodes.create({ promotion: { type: 'coupon', coupon: coupon.id }, code: 'SAVE25' });
  const { id } = await open(here(), 'pro_monthly', { allow_promotion_codes: true });
  const apply = async (code: string): Promise<void> => {
    await page.getByLabel('Promotion code').fill(code);
    await page.getByRole('button', { name: 'Apply' }).click();
  };
  await apply('NOTHING');
  expect(await page.getByRole('alert').textContent()).toBe('This code is invalid.');
  await apply('save25');
  expect(await page.locator('tr.total').textContent()).toContain('$15.00');
  await page.getByRole('button', { name: 'Remove SAVE25' }).click();
  expect(await page.locator('tr.total').textContent()).toContain('$20.00');
  await apply('SAVE25');
  await page.getByLabel('Email').fill('ada@example.com');
  await page.getByRole('button', { name: 'Subscribe' }).click();
  await page.waitForURL(`${shop}/done?session=${id}`);
  const session = await stripe.checkout.sessions.retrieve(id, { expand: ['invoice'] });
  expect(session).toMatchObject({ amount_total: 1500, invoice: { amount_paid: 1500 } });
  const { data } = await stripe.promotionCodes.list({ code: 'SAVE25' });
  expect(data[0]?.times_redeemed).toBe(1);
});

inBrowser('a bank debit completes the session and settles days later', async () => {
  const { harness, page, shop } = here();
  for (const [says, status] of [
    ['Money arrives in 3 days', 'paid'],
    ['Fails after 3 days', 'unpaid'],
  ] as const) {
    const { id } = await open(here(), 'pack_50');
    await page.getByLabel('Email').fill('ada@example.com');
    await page.getByLabel(says).check();
    await page.getByRole('button', { name: 'Pay $10.00' }).click();
    await page.waitForURL(`${shop}/done?session=${id}`);
    const now = await harness.stripe.checkout.sessions.retrieve(id);
    expect(now).toMatchObject({ status: 'complete', payment_status: 'unpaid' });
    await harness.advance(3 * DAY + 60);
    expect((await harness.stripe.checkout.sessions.retrieve(id)).payment_status).toBe(status);
  }
});

inBrowser(
  'a session that allows cards only offers nothing else, and markup from the caller stays text',
  async () => {
    const { page } = here();
    await open(here(), 'pack_50', {
      allowed_payment_method_types: ['card'],
      customer_email: '"><script>document.title="owned"</script>@example.com',
      line_items: [
        {
          price_data: {
            currency: 'usd',
            unit_amount: 500,
            product_data: { name: '<img src=x onerror=alert(1)>' },
          },
        },
      ],
      cancel_url: 'javascript:alert(1)',
    });
    expect(await page.getByLabel('Money arrives in 3 days').count()).toBe(0);
    expect(await page.title()).toBe('Checkout');
    expect(await page.locator('img, script').count()).toBe(0);
    expect(await page.getByRole('link', { name: 'Cancel and go back' }).count()).toBe(0);
  },
);
