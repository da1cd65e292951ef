// Ten things are broken by hand, in the database and in Stripe: each is found, and nothing else; each is mended.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { consume } from '../../src/lib/credits.ts';
import { request, Service } from '../stripe/harness.ts';
import { byHand, type Outcome, reconcile, repairAll } from './support.ts';

let service: Service;
const users: Record<string, string> = {};
const names: Record<string, string> = {};
let first: Outcome;

beforeAll(async () => {
  service = await Service.start();
}, 60_000);
afterAll(() => service.stop());

async function subscriber(name: string): Promise<string> {
  const userId = await service.subscriber();
  users[name] = userId;
  names[userId] = name;
  await consume(service.context, { userId, credits: 10 }, request('consume'));
  return userId;
}

/** What happens in Stripe meanwhile is never delivered. */
async function loseEvents(): Promise<void> {
  await service.control('/delivery/settle');
  service.deliveries.length = 0;
}

async function refund(userId: string, amount?: number): Promise<void> {
  const { data } = await service.stripe.invoices.list({
    customer: await service.customerOf(userId),
    expand: ['data.payments'],
  });
  const intent = data[0]!.payments!.data[0]!.payment.payment_intent as string;
  await service.stripe.refunds.create({
    payment_intent: intent,
    ...(amount === undefined ? {} : { amount }),
  });
}

const BREAKS: Record<string, [kind: string, breakIt: (userId: string) => Promise<unknown>]> = {
  missingGrant: [
    'missing_grant',
    (userId) =>
      byHand(service, `delete from credit_grants where user_id = $1 and invoice_id is not null`, [userId]),
  ],
  extraGrant: [
    'extra_grant',
    async (userId) => {
      const { grantTokensByHand } = await import('./hands.ts');
      await grantTokensByHand(service, userId, 'in_never_made', 40_000);
    },
  ],
  wrongPlan: [
    'wrong_plan',
    (userId) =>
      byHand(service, `update users set subscription_tier = 'enterprise', is_metered = true where id = $1`, [
        userId,
      ]),
  ],
  lostSubscription: [
    'lost_subscription',
    async () => {
      await loseEvents();
    },
  ],
  refundNotClawed: [
    'refund_not_clawed',
    async (userId) => {
      await refund(userId);
      await loseEvents();
    },
  ],
  wrongAmount: [
    'wrong_amount',
    (userId) =>
      byHand(
        service,
        `update credit_grants set amount_tokens = amount_tokens + 20000 where user_id = $1 and invoice_id is not null`,
        [userId],
      ),
  ],
  staleSnapshot: [
    'stale_subscription',
    async (userId) => {
      const { id } = await service.subscriptionOf(userId);
      await service.stripe.subscriptions.update(id, { cancel_at_period_end: true });
      await loseEvents();
    },
  ],
  missingPack: [
    'missing_grant',
    async (userId) => {
      await service.buy(userId, { pack: 'pack_50' });
      await loseEvents();
    },
  ],
  editedBalance: [
    'ledger',
    (userId) =>
      byHand(service, `update users set available_tokens = available_tokens + 10000 where id = $1`, [userId]),
  ],
  editedClawback: [
    'clawback_wrong',
    async (userId) => {
      await byHand(
        service,
        `update credit_grants set claw_target_tokens = 50000 where user_id = $1 and invoice_id is not null`,
        [userId],
      );
    },
  ],
};

test('nothing is found where nothing is wrong', async () => {
  for (const name of Object.keys(BREAKS)) if (name !== 'lostSubscription') await subscriber(name);
  const userId = await service.signUp();
  users.lostSubscription = userId;
  names[userId] = 'lostSubscription';
  const { found, counts } = await reconcile(service, {}, names);
  expect(found).toEqual([]);
  expect(counts).toMatchObject({ subscriptions: 9, payments: 9, users: 10, differences: 0 });
}, 60_000);

test('ten things broken by hand are found, and nothing else', async () => {
  await service.buy(users.lostSubscription!, { plan: 'pro' });
  for (const [name, [, breakIt]] of Object.entries(BREAKS)) await breakIt(users[name]!);
  first = await reconcile(service, {}, names);
  expect(first.found).toEqual(
    Object.entries(BREAKS)
      .map(([name, [kind]]) => `${kind} ${name}`)
      .sort(),
  );
  expect(first.counts.differences).toBe(10);
}, 60_000);

test('each is mended, and the next run finds nothing', async () => {
  const states = await repairAll(service, first);
  expect(states.filter((state) => !state.endsWith(' repaired'))).toEqual([]);
  expect((await reconcile(service, {}, names)).found).toEqual([]);
  expect(await service.violations()).toEqual([]);
  expect(await service.balance(users.missingGrant!)).toMatchObject({ plan: 'pro', credits: 90 });
  expect(await service.balance(users.extraGrant!)).toMatchObject({ plan: 'pro', credits: 90 });
  expect(await service.balance(users.wrongPlan!)).toMatchObject({ plan: 'pro', credits: 90 });
  expect(await service.balance(users.lostSubscription!)).toMatchObject({ plan: 'pro', credits: 100 });
  expect(await service.balance(users.refundNotClawed!)).toMatchObject({ plan: 'pro', credits: 0 });
  expect(await service.balance(users.wrongAmount!)).toMatchObject({ plan: 'pro', credits: 90 });
  expect(await service.balance(users.missingPack!)).toMatchObject({ plan: 'pro', credits: 140 });
  expect(await service.balance(users.editedBalance!)).toMatchObject({ plan: 'pro', credits: 90 });
  expect(await service.balance(users.editedClawback!)).toMatchObject({ plan: 'pro', credits: 90 });
}, 120_000);
