// Each thing that somebody may do to the database or in Stripe: found by its name, mended, and gone from the next run.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { consume } from '../../src/lib/credits.ts';
import { verifyLedgers } from '../../src/lib/parking.ts';
import { syncSubscription } from '../../src/stripe/sync.ts';
import { request, Service } from '../stripe/harness.ts';
import { editedStripe } from '../support/edited-stripe.ts';
import { grantTokensByHand } from './hands.ts';
import { byHand, reconcile, repairAll } from './support.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start();
}, 60_000);
afterAll(() => service.stop());

const spend = (userId: string, credits: number) =>
  consume(service.context, { userId, credits }, request('consume'));

async function subscriber(): Promise<string> {
  const userId = await service.subscriber();
  await spend(userId, 10);
  return userId;
}

async function loseEvents(): Promise<void> {
  await service.control('/delivery/settle');
  service.deliveries.length = 0;
}

/** @returns the plan and credits after the repair */
async function findAndMend(userId: string, kind: string): Promise<Record<string, unknown>> {
  const run = await reconcile(service, { userId });
  expect(run.found).toEqual([`${kind} ${userId}`]);
  expect(await repairAll(service, run)).toEqual([`${kind} repaired`]);
  expect((await reconcile(service, { userId })).found).toEqual([]);
  expect(await service.violations()).toEqual([]);
  return service.balance(userId);
}

test('a renewal that was never heard of is one missing grant, its stale snapshot with it', async () => {
  const userId = await subscriber();
  await service.advance(31);
  await loseEvents();
  expect(await findAndMend(userId, 'missing_grant')).toMatchObject({ plan: 'pro', credits: 100 });
});

test('the end of a subscription that was never heard of is found, although Stripe lists it only when asked for all', async () => {
  const userId = await subscriber();
  await service.stripe.subscriptions.cancel((await service.subscriptionOf(userId)).id);
  await loseEvents();
  expect(await findAndMend(userId, 'stale_subscription')).toMatchObject({ plan: 'free', credits: 0 });
});

test('what changes between the reading of a page and of our rows is no difference', async () => {
  const { context } = service;
  const userId = await subscriber();
  const { id } = await service.subscriptionOf(userId);
  let isChanged = false;
  const stripe = editedStripe(service.sandbox.url, async (path) => {
    if (path !== '/v1/subscriptions' || isChanged) return;
    isChanged = true;
    await service.stripe.subscriptions.update(id, { cancel_at_period_end: true });
    await syncSubscription(context, id);
  });
  expect((await reconcile({ context: { ...context, stripe } })).found).toEqual([]);
  expect(isChanged).toBe(true);
  await loseEvents();
});

test('a grant deleted with the last of its entries is granted anew', async () => {
  const userId = await service.subscriber();
  await byHand(service, `delete from credit_grants where user_id = $1 and invoice_id is not null`, [userId]);
  await byHand(service, `delete from ledger_entries where user_id = $1 and key like 'inv:%'`, [userId]);
  expect(await findAndMend(userId, 'missing_grant')).toMatchObject({ plan: 'pro', credits: 100 });
});

test('an entry that is gone from the middle of a ledger needs a person, who is told so', async () => {
  const userId = await subscriber();
  await byHand(service, `delete from ledger_entries where user_id = $1 and key like 'inv:%'`, [userId]);
  const run = await reconcile(service, { userId });
  expect(run.found).toEqual([`ledger ${userId}`]);
  expect((await repairAll(service, run))[0]).toMatch(/^ledger needs_person: .*1 ledger entries are gone/);
  await byHand(service, `delete from ledger_entries where user_id = $1`, [userId]);
  await byHand(service, `delete from credit_grants where user_id = $1`, [userId]);
  await reconcile(service, { userId }).then((again) => repairAll(service, again));
});

test('a paid line that is gone, or edited, or invented', async () => {
  const userId = await subscriber();
  await byHand(service, `delete from paid_lines where user_id = $1`, [userId]);
  expect(await findAndMend(userId, 'missing_line')).toMatchObject({ plan: 'pro', credits: 90 });
  await byHand(service, `update paid_lines set amount_minor = 1 where user_id = $1`, [userId]);
  expect(await findAndMend(userId, 'wrong_line')).toMatchObject({ plan: 'pro', credits: 90 });
  await byHand(
    service,
    `insert into paid_lines select (jsonb_populate_record(l, '{"key": "pack:cs_x:li_x", "payment_id": "cs_x", "kind": "none",
      "subscription_id": null, "note": "by hand"}')).* from paid_lines l where user_id = $1`,
    [userId],
  );
  expect(await findAndMend(userId, 'extra_line')).toMatchObject({ plan: 'pro', credits: 90 });
});

test('a subscription that Stripe does not have gives no plan any longer', async () => {
  const userId = await service.signUp();
  const other = await subscriber();
  await byHand(
    service,
    `insert into subscriptions select (jsonb_populate_record(s, jsonb_build_object('id', 'sub_invented', 'user_id', u.id,
      'bucket', u.bucket))).* from subscriptions s, users u where s.user_id = $1 and u.id = $2`,
    [other, userId],
  );
  await byHand(
    service,
    `update users set subscription_tier = 'pro', is_subscribed = true, current_subscription_id = 'sub_invented',
       access_ends_at = period_end, subscription_ends_at = period_end where id = $1`,
    [userId],
  );
  const run = await reconcile(service, { userId });
  expect(run.found).toEqual([`extra_subscription ${userId}`]);
  await repairAll(service, run);
  expect((await reconcile(service, { userId })).found).toEqual([]);
  expect(await service.balance(userId)).toMatchObject({ plan: 'free', credits: 5 });
});

test('a grant that gave too much by its own entry is corrected by a new entry', async () => {
  const userId = await subscriber();
  const where = `where user_id = $1 and key like 'inv:%'`;
  await byHand(service, `update credit_grants set amount_tokens = amount_tokens + 8000 ${where}`, [userId]);
  await byHand(
    service,
    `update users set head_remaining_tokens = head_remaining_tokens + 8000, available_tokens = available_tokens + 8000 where id = $1`,
    [userId],
  );
  await byHand(
    service,
    `update ledger_entries set tokens = tokens + case when key like 'inv:%' then 8000 else 0 end,
    balance_after = balance_after + case when seq >= (select seq from ledger_entries ${where}) then 8000 else 0 end where user_id = $1`,
    [userId],
  );
  expect(await findAndMend(userId, 'wrong_amount')).toMatchObject({ plan: 'pro', credits: 90 });
});

test('a grant row that no entry knows is removed, and a parked user is released', async () => {
  const userId = await subscriber();
  await byHand(
    service,
    `insert into credit_grants (bucket, id, user_id, key, source, amount_tokens, remaining_tokens, effective_at, created_at)
     select bucket, 'gr_by_hand', id, 'bonus:by hand', 'bonus', 6000, 6000, created_at, created_at from users where id = $1`,
    [userId],
  );
  await byHand(service, `update users set available_tokens = available_tokens + 6000 where id = $1`, [
    userId,
  ]);
  await verifyLedgers(service.context);
  expect(await findAndMend(userId, 'ledger')).toMatchObject({ plan: 'pro', credits: 90 });
  const { rows } = await service.context.pool.query('select parked_at from users where id = $1', [userId]);
  expect(rows).toEqual([{ parked_at: null }]);
});

test('what was spent of a grant for no payment stays spent', async () => {
  const userId = await service.signUp();
  await grantTokensByHand(service, userId, 'in_invented', 20_000);
  await spend(userId, 12);
  expect(await findAndMend(userId, 'extra_grant')).toMatchObject({ plan: 'free', credits: 0 });
});

test('money of a customer that is nobody’s is one difference for a person, until somebody says whose it is', async () => {
  const userId = await service.signUp();
  const { data } = await service.stripe.prices.list({ lookup_keys: ['pro_monthly'] });
  const customer = await service.stripe.customers.create({
    payment_method: 'pm_card_visa',
    invoice_settings: { default_payment_method: 'pm_card_visa' },
  });
  await service.stripe.subscriptions.create({ customer: customer.id, items: [{ price: data[0]!.id }] });
  await loseEvents();
  const run = await reconcile(service);
  expect(run.differences).toMatchObject([
    { kind: 'unknown_customer', subjectId: customer.id, moneyMinor: 2000, currency: 'usd' },
  ]);
  expect((await repairAll(service, run))[0]).toMatch(/needs_person: Nobody here is this customer/);
  await service.stripe.customers.update(customer.id, { metadata: { tollgate_user_id: userId } });
  const again = await reconcile(service);
  expect(again.found).toEqual([`lost_subscription ${userId}`]);
  expect(await repairAll(service, again)).toEqual(['lost_subscription repaired']);
  expect((await reconcile(service)).found).toEqual([]);
  expect(await service.balance(userId)).toMatchObject({ plan: 'pro', credits: 100 });
}, 60_000);
