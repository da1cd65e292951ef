// preview = effect: what a preview says of a change is what the change then does, in money and in credits, and asking
// changes nothing.
import type Stripe from 'stripe';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { previewed } from '../../src/http/schemas/billing.ts';
import { consume } from '../../src/lib/credits.ts';
import { cancelSubscription } from '../../src/stripe/billing.ts';
import { changePlan } from '../../src/stripe/plan-change.ts';
import { type PreviewInput, previewChange } from '../../src/stripe/preview.ts';
import { TEAM_CATALOGUE } from './catalogue.ts';
import { request, Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start(TEAM_CATALOGUE);
});
afterAll(() => service.stop());

type Wanted = Omit<PreviewInput, 'userId'>;
interface Case {
  from: { plan: string; interval?: 'month' | 'year'; quantity?: number };
  ask: Wanted;
  money: number;
  /** A day of a year costs more or less by the length of the months. */
  within?: number;
  credits: number;
}

const CASES: Record<string, Case> = {
  'upgrade now': { from: { plan: 'pro' }, ask: { plan: 'team' }, money: 2667, credits: 270 },
  'upgrade at the period end': {
    from: { plan: 'pro' },
    ask: { plan: 'team', effective: 'period_end' },
    money: 6000,
    credits: 300,
  },
  'downgrade at the period end': { from: { plan: 'team' }, ask: { plan: 'pro' }, money: 2000, credits: 100 },
  'downgrade now': {
    from: { plan: 'team' },
    ask: { plan: 'pro', effective: 'now' },
    money: 0,
    credits: 270,
  },
  'quantity up': { from: { plan: 'pro' }, ask: { plan: 'pro', quantity: 3 }, money: 2667, credits: 270 },
  'quantity down at the period end': {
    from: { plan: 'pro', quantity: 3 },
    ask: { plan: 'pro', quantity: 2 },
    money: 4000,
    credits: 200,
  },
  'month to year': {
    from: { plan: 'pro' },
    ask: { plan: 'pro', interval: 'year' },
    money: 18_150,
    within: 100,
    credits: 70,
  },
  'month to year and to the dearer plan': {
    from: { plan: 'pro' },
    ask: { plan: 'team', interval: 'year' },
    money: 57_000,
    within: 200,
    credits: 270,
  },
  'year to month at the end of the year': {
    from: { plan: 'pro', interval: 'year' },
    ask: { plan: 'pro', interval: 'month' },
    money: 2000,
    credits: 100,
  },
  'cancel now': { from: { plan: 'pro' }, ask: { cancel: true, effective: 'now' }, money: 0, credits: 0 },
  'cancel at the period end': { from: { plan: 'pro' }, ask: { cancel: true }, money: 0, credits: 5 },
};

async function moneyOf(userId: string) {
  const customer = await service.customerOf(userId);
  const invoices = await service.stripe.invoices.list({ customer, limit: 100 });
  const { balance } = (await service.stripe.customers.retrieve(customer)) as Stripe.Customer;
  return { paid: invoices.data.reduce((sum, { amount_paid }) => sum + amount_paid, 0), balance };
}

async function everything(userId: string): Promise<unknown> {
  const customer = await service.customerOf(userId);
  const { rows } = await service.context.pool.query(
    `select (select count(*) from ledger_entries where user_id = $1) as entries,
       (select count(*) from paid_lines where user_id = $1) as lines,
       (select count(*) from credit_grants where user_id = $1) as grants,
       (select row_to_json(u) from users u where id = $1) as user,
       (select json_agg(s) from subscriptions s where user_id = $1) as subscriptions`,
    [userId],
  );
  return {
    rows,
    subscription: await service.subscriptionOf(userId),
    invoices: await service.stripe.invoices.list({ customer }),
    items: await service.stripe.invoiceItems.list({ customer }),
    schedules: await service.stripe.subscriptionSchedules.list({ customer }),
  };
}

const DAY = 86_400;

/** Ten days into a period of thirty, with 30 credits spent. */
async function subscriber({ plan, interval = 'month', quantity }: Case['from']): Promise<string> {
  const userId = await service.signUp();
  // The free plan's month is not the subscription's.
  await service.advance(5);
  await service.buy(userId, { plan, interval });
  await service.settle();
  if (quantity !== undefined)
    await changePlan(service.context, { userId, plan, quantity }, request('change'));
  await consume(service.context, { userId, credits: 30 }, request('consume'));
  const { items } = await service.subscriptionOf(userId);
  const { current_period_start: start, current_period_end: end } = items.data[0]!;
  await service.advance(interval === 'year' ? 10 : (end - start) / DAY / 3);
  await service.settle();
  return userId;
}

async function perform(userId: string, { cancel, plan = 'free', ...ask }: Wanted): Promise<void> {
  if (cancel) {
    const effective = ask.effective ?? 'period_end';
    await cancelSubscription(service.context, { userId, effective }, request('cancel'));
  } else await changePlan(service.context, { userId, plan, ...ask }, request('change'));
}

interface Preview {
  plan: string;
  effectiveAt: string;
  keptUntil: string | null;
  money: {
    amountDueMinor: number;
    creditedMinor: number;
    currency: string;
    lines: { amountMinor: number }[];
  };
  credits: { before: Record<string, unknown>; after: Record<string, unknown> };
  nextResets: string[];
}

async function balanceOf(userId: string) {
  const { credits, availableTokens, balances } = await service.usage(userId);
  return {
    credits,
    availableTokens,
    balances: balances.map(({ source, remainingTokens, expiresAt }) => ({
      source,
      remainingTokens,
      expiresAt,
    })),
  };
}

test.each(Object.entries(CASES))('%s: the preview is the effect', async (_name, { from, ask, ...known }) => {
  const userId = await subscriber(from);
  const untouched = await everything(userId);
  const answer = await previewChange(service.context, { userId, ...ask });
  expect(previewed.parse(answer)).toEqual(answer);
  const preview = answer as unknown as Preview;
  expect(await everything(userId)).toEqual(untouched);
  expect(preview.credits.before).toEqual(await balanceOf(userId));

  const money = await moneyOf(userId);
  await perform(userId, ask);
  await service.settle();
  if (preview.keptUntil !== null) {
    expect(await balanceOf(userId)).toEqual(preview.credits.before);
    const seconds = (Date.parse(preview.keptUntil) - service.sandbox.now().getTime()) / 1000;
    // An hour passes between the period's end and its payment.
    await service.control('/clock/advance', { seconds: Math.ceil(seconds) + 2 * 3600 });
    await service.settle();
  }
  const usage = await service.usage(userId);
  expect(await balanceOf(userId)).toEqual(preview.credits.after);
  expect(usage).toMatchObject({ subscriptionTier: preview.plan, nextResetAt: preview.nextResets[0] });
  const after = await moneyOf(userId);
  expect(after.paid - money.paid).toBe(preview.money.amountDueMinor);
  expect(money.balance - after.balance).toBe(preview.money.creditedMinor);
  // The figures themselves, so that preview and change cannot be wrong together.
  expect(Math.abs(preview.money.amountDueMinor - known.money)).toBeLessThanOrEqual(known.within ?? 0);
  expect(usage.credits).toBe(known.credits);
});

test('what the change would refuse, the preview refuses', async () => {
  const userId = await service.subscriber();
  await expect(previewChange(service.context, { userId, plan: 'pro' })).rejects.toMatchObject({
    code: 'conflict',
  });
  await expect(previewChange(service.context, { userId, plan: 'gold' })).rejects.toMatchObject({
    code: 'invalid_request',
  });
  const free = await service.signUp();
  await expect(previewChange(service.context, { userId: free, cancel: true })).rejects.toMatchObject({
    code: 'conflict',
  });
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
