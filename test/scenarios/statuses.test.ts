// What each status of a subscription gives (docs/credits.md, stripe.md B3), and every way into a pause and out of it.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createCheckout } from '../../src/stripe/billing.ts';
import { request, type Service } from '../stripe/harness.ts';
import { invoicesOf, lost, priceId, type Scene, spend, startScene, subscribe, switchTo } from './scene.ts';

let scene: Scene;
let service: Service;
beforeAll(async () => {
  scene = await startScene();
  service = scene.service;
});
beforeEach(async () => {
  await service.settle(lost);
  await service.control('/billing', { afterFinalRetry: 'canceled' });
  service.alerts.splice(0);
});
afterAll(() => scene.stop());

const FREE = { plan: 'free', credits: 5, allowance: 5 };
const PRO = { plan: 'pro', credits: 100, allowance: 100 };

const idOf = async (userId: string) => (await service.subscriptionOf(userId)).id;
const statusOf = async (userId: string) => (await service.subscriptionOf(userId)).status;
const payLatest = async (userId: string) => {
  await service.payments(userId, 'succeeds');
  await service.stripe.invoices.pay(String((await service.subscriptionOf(userId)).latest_invoice));
  await service.settle();
};
const dunningEndsIn = async (userId: string, end: string) => {
  await service.control('/billing', { afterFinalRetry: end });
  await service.payments(userId, 'card_declined');
  await service.advance(48);
  await service.settle();
};

test('a first payment that fails leaves the user free, and so does its expiry after 23 hours', async () => {
  const userId = await service.signUp();
  await subscribe(service, userId, { payment_behavior: 'allow_incomplete' }, 'pm_card_chargeCustomerFail');
  await service.settle();
  expect([await statusOf(userId), await service.balance(userId)]).toEqual(['incomplete', FREE]);
  await service.advance(1);
  await service.settle();
  expect([await statusOf(userId), await service.balance(userId)]).toEqual(['incomplete_expired', FREE]);
  await service.buy(userId, { plan: 'pro' });
  await service.settle();
  expect(await service.balance(userId)).toEqual(PRO);
});

test('while a renewal is unpaid nothing is granted, and paid at last it is granted once', async () => {
  const userId = await service.subscriber();
  await spend(service, userId, 90);
  await service.payments(userId, 'card_declined');
  // The invoice is paid an hour after the renewal at the earliest, and the sandbox begins on the day of the run: a month
  // may have 31 days.
  await service.advance(32);
  await service.settle();
  expect(await statusOf(userId)).toBe('past_due');
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 10, allowance: 10 });
  await service.payments(userId, 'succeeds');
  await service.advance(6);
  await service.settle((all) => [...all, ...all]);
  expect([await statusOf(userId), await service.balance(userId)]).toEqual(['active', PRO]);
});

test.each(['unpaid', 'paused', 'past_due'])(
  'dunning that ends in %s ends the plan after the grace',
  async (end) => {
    const userId = await service.subscriber();
    await dunningEndsIn(userId, end);
    expect(await statusOf(userId)).toBe(end);
    expect(await service.balance(userId)).toEqual(FREE);
  },
);

test.each([
  ['unpaid', { plan: 'free', credits: 100, allowance: 100 }],
  ['paused', { plan: 'free', credits: 100, allowance: 100 }],
  ['past_due', PRO],
])(
  'dunning that ends in %s inside the grace: the status decides the plan, the credits stay',
  async (end, ends) => {
    const userId = await service.subscriber();
    await service.control('/billing', { retryDays: [1], afterFinalRetry: end });
    await service.payments(userId, 'card_declined');
    await service.advance(34);
    await service.settle();
    await service.control('/billing', { retryDays: [3, 5, 7] });
    expect([await statusOf(userId), await service.balance(userId)]).toEqual([end, ends]);
  },
);

test('paying the invoice of a pause by dunning brings the plan back', async () => {
  const userId = await service.subscriber();
  await dunningEndsIn(userId, 'paused');
  await payLatest(userId);
  expect([await statusOf(userId), (await service.balance(userId)).plan]).toEqual(['active', 'pro']);
});

test('an uncollectible invoice that is paid months late is explained and gives nothing for a window long over', async () => {
  const userId = await service.subscriber();
  await service.control('/billing', { afterFinalRetry: 'past_due' });
  await service.payments(userId, 'card_declined');
  await service.advance(33);
  const [invoice] = await invoicesOf(service, userId);
  await service.stripe.invoices.markUncollectible(invoice!.id!);
  await service.advance(70);
  await service.settle();
  expect(service.alerts).toContain('invoice_marked_uncollectible');
  expect(await service.balance(userId)).toEqual(FREE);
  await service.payments(userId, 'succeeds');
  await service.stripe.invoices.pay(invoice!.id!);
  service.alerts.splice(0);
  await service.settle((all) => [...all, ...all]);
  expect(service.alerts).toEqual(['late_line']);
  expect(await service.balance(userId)).toEqual(FREE);
  const { rows } = await service.context.pool.query(
    'select amount_tokens, expired_tokens, cost_basis_minor from credit_grants where user_id = $1 and invoice_id = $2',
    [userId, invoice!.id],
  );
  expect(rows).toEqual([{ amount_tokens: 200_000, expired_tokens: 200_000, cost_basis_minor: 2000 }]);
});

describe('a pause', () => {
  test('by the pause endpoint: free while it lasts, the old credits frozen; resumed and paid, pro again', async () => {
    const userId = await service.subscriber();
    await spend(service, userId, 60);
    const id = await idOf(userId);
    await service.stripe.subscriptions.pause(id, {
      type: 'subscription',
      bill_for: { unused_time_from: { type: 'none' } },
    });
    await service.settle();
    expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 40, allowance: 40 });
    await service.advance(45);
    await service.settle();
    expect(await service.balance(userId)).toEqual(FREE);
    await service.stripe.subscriptions.resume(id, { billing_cycle_anchor: { type: 'now' } });
    await service.settle((all) => [...all].reverse());
    expect(await service.balance(userId)).toEqual(PRO);
  });

  test('at the end of a trial without payment method: free, and pro when it is resumed with a card', async () => {
    const userId = await service.signUp();
    await subscribe(
      service,
      userId,
      { trial_period_days: 7, trial_settings: { end_behavior: { missing_payment_method: 'pause' } } },
      null,
    );
    await service.settle();
    expect(await service.balance(userId)).toEqual(PRO);
    await service.advance(8);
    await service.settle();
    expect(await statusOf(userId)).toBe('paused');
    expect((await service.balance(userId)).plan).toBe('free');
    const id = await idOf(userId);
    const customer = await service.customerOf(userId);
    const card = await service.stripe.paymentMethods.attach('pm_card_visa', { customer });
    await service.stripe.subscriptions.update(id, { default_payment_method: card.id });
    await service.stripe.subscriptions.resume(id, { billing_cycle_anchor: { type: 'now' } });
    await service.settle();
    expect(await service.balance(userId)).toEqual(PRO);
  });

  test('a trial that ends without payment method may cancel instead', async () => {
    const userId = await service.signUp();
    await subscribe(
      service,
      userId,
      { trial_period_days: 7, trial_settings: { end_behavior: { missing_payment_method: 'cancel' } } },
      null,
    );
    await service.advance(8);
    await service.settle();
    expect(await statusOf(userId)).toBe('canceled');
    expect(await service.balance(userId)).toMatchObject({ plan: 'free' });
  });

  test.each(['keep_as_draft', 'mark_uncollectible', 'void'] as const)(
    'of collection (%s) gives no credits, and the plan lapses when what was paid is over',
    async (behavior) => {
      const userId = await service.subscriber();
      const id = await idOf(userId);
      await service.stripe.subscriptions.update(id, { pause_collection: { behavior } });
      await service.settle();
      expect(await service.balance(userId)).toEqual(PRO);
      await service.advance(33);
      await service.settle();
      expect(await statusOf(userId)).toBe('active');
      expect(await service.balance(userId)).toEqual(PRO);
      await service.advance(7);
      expect(await service.balance(userId)).toEqual(FREE);
      await service.stripe.subscriptions.update(id, { pause_collection: '' });
      await service.advance(31);
      await service.settle();
      expect(await service.balance(userId)).toEqual(PRO);
    },
  );

  test('of collection whose draft is paid after all buys its window', async () => {
    const userId = await service.subscriber();
    await service.stripe.subscriptions.update(await idOf(userId), {
      pause_collection: { behavior: 'keep_as_draft' },
    });
    await spend(service, userId, 100);
    await service.advance(32);
    await service.settle();
    expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 0 });
    const [draft] = await invoicesOf(service, userId);
    expect(draft!.status).toBe('draft');
    await service.stripe.invoices.pay(draft!.id!);
    await service.settle();
    expect(await service.balance(userId)).toEqual(PRO);
  });
});

test('whoever has a subscription in any state cannot buy a second', async () => {
  const buySecond = (userId: string) =>
    createCheckout(service.context, { userId, plan: 'pro' }, request('checkout'));
  const refused = async (userId: string, status: string) => {
    expect(await statusOf(userId)).toBe(status);
    await expect(buySecond(userId)).rejects.toMatchObject({ code: 'conflict' });
  };
  const trialing = await service.signUp();
  await subscribe(service, trialing, { trial_period_days: 90 });
  const incomplete = await service.signUp();
  await subscribe(
    service,
    incomplete,
    { payment_behavior: 'allow_incomplete' },
    'pm_card_chargeCustomerFail',
  );
  await service.settle();
  await refused(incomplete, 'incomplete');
  await refused(trialing, 'trialing');
  for (const end of ['past_due', 'unpaid', 'paused']) {
    const userId = await service.subscriber();
    await dunningEndsIn(userId, end);
    await refused(userId, end);
  }
  await refused(await service.subscriber(), 'active');
});

test('a free first invoice of a trial is no payment: what it gives ends with the trial', async () => {
  const userId = await service.signUp();
  await subscribe(service, userId, { trial_period_days: 14 });
  await service.settle();
  await spend(service, userId, 40);
  await service.payments(userId, 'card_declined');
  await service.advance(16);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 60, allowance: 60 });
  await service.advance(7);
  expect(await service.balance(userId)).toMatchObject({ plan: 'free' });
});

test('a coupon of 100 % buys the whole allowance, and there is nothing to go back', async () => {
  const coupon = await service.stripe.coupons.create({ percent_off: 100, duration: 'forever' });
  const userId = await service.signUp();
  await subscribe(service, userId, { discounts: [{ coupon: coupon.id }] });
  await service.settle();
  expect(await service.balance(userId)).toEqual(PRO);
  await service.advance(32);
  await service.settle();
  expect(await service.balance(userId)).toEqual(PRO);
  const { rows } = await service.context.pool.query(
    'select distinct cost_basis_minor, claw_target_tokens from credit_grants where user_id = $1 and invoice_id is not null',
    [userId],
  );
  expect(rows).toEqual([{ cost_basis_minor: 0, claw_target_tokens: 0 }]);
});

test('an invoice paid from the customer’s balance or outside Stripe buys as any other', async () => {
  const userId = await service.subscriber();
  const customer = await service.customerOf(userId);
  await service.stripe.customers.createBalanceTransaction(customer, { amount: -2000, currency: 'usd' });
  await spend(service, userId, 50);
  await service.advance(32);
  await service.settle();
  expect((await invoicesOf(service, userId))[0]).toMatchObject({ status: 'paid', amount_paid: 0 });
  expect(await service.balance(userId)).toEqual(PRO);
  await service.payments(userId, 'card_declined');
  await spend(service, userId, 50);
  await service.advance(31);
  const [open] = await invoicesOf(service, userId);
  await service.stripe.invoices.pay(open!.id!, { paid_out_of_band: true });
  await service.settle();
  expect(await service.balance(userId)).toEqual(PRO);
});

test('quantity 0 buys nothing', async () => {
  const userId = await service.signUp();
  const price = await priceId(service, 'pro_monthly');
  await subscribe(service, userId, { items: [{ price, quantity: 0 }] });
  await service.settle();
  expect((await service.balance(userId)).credits).toBeLessThanOrEqual(5);
});

test('a subscription whose plan is not its first item has that plan, and its period', async () => {
  const userId = await service.signUp();
  const extra = await service.stripe.prices.create({
    currency: 'usd',
    unit_amount: 900,
    recurring: { interval: 'month' },
    product_data: { name: 'Support' },
  });
  const items = [{ price: extra.id }, { price: await priceId(service, 'pro_monthly') }];
  await subscribe(service, userId, { items });
  await service.settle();
  expect(await service.balance(userId)).toEqual(PRO);
  const { items: live } = await service.subscriptionOf(userId);
  const own = live.data.find(({ price }) => price.lookup_key === 'pro_monthly')!;
  const { rows } = await service.context.pool.query(
    'select current_period_end from subscriptions where user_id = $1',
    [userId],
  );
  expect(rows[0].current_period_end).toEqual(new Date(own.current_period_end * 1000));
});

test('a change with create_prorations changes the plan at once; its credits come when it is paid', async () => {
  const userId = await service.subscriber();
  await switchTo(service, userId, 'team_monthly', { proration_behavior: 'create_prorations' });
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 100, allowance: 100 });
  await service.advance(32);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
});

test.each([
  ['before', (all: string[]) => ['customer.deleted', ...all]],
  ['after', (all: string[]) => [...all, 'customer.deleted']],
])(
  'a deleted customer is free whether it is heard of %s the end of its subscriptions',
  async (_when, order) => {
    const userId = await service.subscriber();
    await service.stripe.customers.del(await service.customerOf(userId));
    const rank = (type: string): number => order(['customer.subscription.deleted']).indexOf(type);
    const all = await service.settle((heard) =>
      heard
        .filter(({ event }) => rank(event.type) >= 0)
        .sort((a, b) => rank(a.event.type) - rank(b.event.type)),
    );
    expect(all).toHaveLength(2);
    expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 0 });
  },
);

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
