// Plan changes that a person makes on Stripe's Portal, end to end: our configuration, the sandbox's pages, signed
// events, our credits.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { consume } from '../../src/lib/credits.ts';
import { createPortalSession, resumeSubscription } from '../../src/stripe/billing.ts';
import { changePlan } from '../../src/stripe/plan-change.ts';
import { TEAM_CATALOGUE } from './catalogue.ts';
import { request, Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start(TEAM_CATALOGUE);
});
afterAll(() => service.stop());

async function priceId(lookupKey: string): Promise<string> {
  const { data } = await service.stripe.prices.list({ lookup_keys: [lookupKey], active: true });
  return data[0]!.id;
}

/** Fills in one of the Portal's forms. @returns where the Portal leads */
async function submit(userId: string, fields: Record<string, string>): Promise<string> {
  const { body } = await createPortalSession(service.context, { userId }, request('portal'));
  const { id } = await service.subscriptionOf(userId);
  const answer = await fetch(String(body.url), {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ subscription: id, ...fields }),
  });
  expect({ status: answer.status, text: await answer.text() }).toMatchObject({ status: 303 });
  return String(answer.headers.get('location'));
}

const choose = async (userId: string, lookupKey: string): Promise<string> =>
  submit(userId, { action: 'update', price: await priceId(lookupKey) });

const configurations = async () => {
  const { data } = await service.stripe.billingPortal.configurations.list({ active: true, limit: 100 });
  return data.filter(({ metadata }) => metadata?.tollgate_portal !== undefined);
};

test('the portal shows the plans on sale, and no others', async () => {
  const userId = await service.subscriber();
  const { body } = await createPortalSession(service.context, { userId }, request('portal'));
  const { id } = await service.subscriptionOf(userId);
  const page = await fetch(`${body.url}?view=update&subscription=${id}`);
  const html = await page.text();
  for (const key of ['pro_monthly', 'pro_annual', 'team_monthly', 'team_annual']) {
    expect(html).toContain(await priceId(key));
  }
  expect(html).not.toContain(await priceId('pack_50'));
});

test('an upgrade on the portal is paid at once and fills the allowance up', async () => {
  const userId = await service.subscriber();
  await consume(service.context, { userId, credits: 40 }, request('consume'));
  expect(await choose(userId, 'team_monthly')).toContain('done=updated');
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 260, allowance: 260 });
});

test('an upgrade on the portal that the card does not pay changes nothing until its invoice is paid', async () => {
  const userId = await service.subscriber();
  await service.payments(userId, 'card_declined');
  expect(await choose(userId, 'team_monthly')).toContain('/invoices/');
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  await service.payments(userId, 'succeeds');
  const { latest_invoice: invoice } = await service.subscriptionOf(userId);
  await service.stripe.invoices.pay(String(invoice));
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
});

test('a downgrade on the portal waits for its phase: all is kept until then, and less comes after', async () => {
  const userId = await service.subscriber('team');
  expect(await choose(userId, 'pro_monthly')).toContain('done=scheduled');
  await service.settle();
  await service.advance(20);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'team', credits: 300, allowance: 300 });
  await service.advance(12);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
  // The schedule's last phase ends and lets the subscription go on.
  await service.advance(31);
  await service.settle();
  expect(await service.subscriptionOf(userId)).toMatchObject({ status: 'active', schedule: null });
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('from the year to the month waits as well', async () => {
  const userId = await service.subscriber('pro', 'year');
  expect(await choose(userId, 'pro_monthly')).toContain('done=scheduled');
  expect((await service.subscriptionOf(userId)).items.data[0]!.price.lookup_key).toBe('pro_annual');
});

test('what was chosen on the portal is taken back through our API', async () => {
  const userId = await service.subscriber('team');
  await choose(userId, 'pro_monthly');
  await expect(
    changePlan(service.context, { userId, plan: 'pro', interval: 'year' }, request('change')),
  ).rejects.toMatchObject({
    code: 'conflict',
    members: { pendingChange: { plan: 'pro', interval: 'month' } },
  });
  await changePlan(service.context, { userId, plan: 'team' }, request('change'));
  expect((await service.subscriptionOf(userId)).schedule).toBeNull();

  await choose(userId, 'pro_monthly');
  await submit(userId, { action: 'cancel' });
  await service.settle();
  const { body } = await resumeSubscription(service.context, { userId }, request('resume'));
  expect(body).toMatchObject({ plan: 'team', cancelAt: null });
});

test('the configuration follows the catalogue’s prices, in place', async () => {
  const userId = await service.subscriber();
  await createPortalSession(service.context, { userId }, request('portal'));
  const [before, ...others] = await configurations();
  expect(others).toEqual([]);
  const old = await service.stripe.prices.retrieve(await priceId('team_monthly'));
  const dearer = await service.stripe.prices.create({
    product: String(old.product),
    currency: 'usd',
    unit_amount: 7000,
    recurring: { interval: 'month' },
    lookup_key: 'team_monthly',
    transfer_lookup_key: true,
  });
  await createPortalSession(service.context, { userId }, request('portal'));
  const [after, ...more] = await configurations();
  expect(more).toEqual([]);
  expect(after?.id).toBe(before?.id);
  const offered = after?.features.subscription_update.products?.flatMap(({ prices }) => prices);
  expect(offered).toContain(dearer.id);
  expect(offered).not.toContain(old.id);
  expect(after?.features.subscription_update).toMatchObject({
    enabled: true,
    proration_behavior: 'always_invoice',
    schedule_at_period_end: {
      conditions: [{ type: 'decreasing_item_amount' }, { type: 'shortening_interval' }],
    },
  });
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
