// Nothing is lost: parked, failed, swept, replayed and backfilled events.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { unpark } from '../../src/lib/parking.ts';
import { findEvent } from '../../src/store/inbox.ts';
import { parkUser } from '../../src/store/parking.ts';
import { backfillEvents, sweepInbox } from '../../src/stripe/backfill.ts';
import { handleStripeEvent } from '../../src/stripe/handle.ts';
import { listStripeEvents, readStripeEvent, replayStripeEvent } from '../../src/stripe/inbox.ts';
import { type Delivery, Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start();
});
afterAll(() => service.stop());

const PRO = { plan: 'pro', credits: 100, allowance: 100 };

test('events of a customer whom nobody knows are parked, and resolved when the customer becomes known', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  const customer = await service.customerOf(userId);
  // As if the process had died between making the customer and binding it, and Stripe knew no more than we.
  const { pool } = service.context;
  await pool.query('delete from stripe_customers where id = $1', [customer]);
  await pool.query('update users set stripe_customer_id = null where id = $1', [userId]);
  await service.stripe.customers.update(customer, { metadata: { tollgate_user_id: '' } });
  const isCompleted = ({ event }: Delivery): boolean => event.type === 'checkout.session.completed';
  let completed: Delivery[] = [];
  const received = await service.settle((all) => {
    completed = all.filter(isCompleted);
    return all.filter((one) => !isCompleted(one));
  });
  const paid = received.find(({ event }) => event.type === 'invoice.paid')!;
  expect(await findEvent(pool, paid.event.id)).toMatchObject({ status: 'parked', attempts: 1 });
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });

  const before = await findEvent(pool, paid.event.id);
  expect(before!.nextAttemptAt.getTime() - service.sandbox.now().getTime()).toBeGreaterThan(50_000);
  await service.advance(2);
  await sweepInbox(service.context);
  await service.work();
  expect(await findEvent(pool, paid.event.id)).toMatchObject({ status: 'parked', attempts: 2 });
  expect(service.alerts).toContain('event_parked');

  for (const delivery of completed) await service.receive(delivery);
  expect(await service.balance(userId)).toEqual(PRO);
  expect(await findEvent(pool, paid.event.id)).toMatchObject({ status: 'handled', userId });
  expect((await service.eventsByStatus()).parked).toBeUndefined();
});

test('a customer that we made and had no time to bind is bound by its metadata', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await service.context.pool.query('delete from stripe_customers where user_id = $1', [userId]);
  await service.settle((all) => all.filter(({ event }) => event.type === 'invoice.paid'));
  expect(await service.balance(userId)).toEqual(PRO);
});

test("a parked user's event waits with the reason, and is handled when the user is let go", async () => {
  const { context } = service;
  const userId = await service.signUp();
  await parkUser(context.pool, userId, { at: service.sandbox.now(), reason: 'invariant_i1_balance' });
  await service.buy(userId, { plan: 'pro' });
  const received = await service.settle();
  const paid = received.find(({ event }) => event.type === 'invoice.paid')!;
  expect(await findEvent(context.pool, paid.event.id)).toMatchObject({
    status: 'parked',
    userId,
    lastError: expect.stringContaining('invariant_i1_balance'),
  });
  expect(await service.balance(userId)).toMatchObject({ plan: 'free', credits: 5 });
  await unpark(context, userId, { actor: 'test', reason: 'mended' });
  await service.work();
  expect(await service.balance(userId)).toEqual(PRO);
});

test('an event whose job was lost is found by the sweep', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await service.control('/delivery/settle');
  const { receiveWebhook } = await import('../../src/stripe/webhook.ts');
  for (const { body, signature } of service.deliveries.splice(0)) {
    await receiveWebhook(service.context, body, signature);
  }
  service.woken.splice(0);
  expect(await sweepInbox(service.context)).toBeGreaterThan(0);
  await service.work();
  expect(await service.balance(userId)).toEqual(PRO);
  expect(await sweepInbox(service.context)).toBe(0);
});

test('events that were never delivered are read from Stripe, once', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await service.settle(() => []);
  expect(await backfillEvents(service.context)).toMatchObject({ added: expect.any(Number) });
  await service.work();
  expect(await service.balance(userId)).toEqual(PRO);
  expect((await backfillEvents(service.context)).added).toBe(0);
});

test('an event that Stripe lists late, after one that was made after it, is read all the same', async () => {
  const { context } = service;
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await service.settle(() => []);
  await service.control('/clock/advance', { seconds: 600 });
  // As if the list had shown a newer event first, and this one not yet.
  const { rowCount } = await context.pool.query(
    `update sync_cursors set position = $1 where name = 'stripe-events'`,
    [service.sandbox.now()],
  );
  expect(rowCount).toBe(1);
  await backfillEvents(context);
  await service.work();
  expect(await service.balance(userId)).toEqual(PRO);
});

test('a backfill since a later time skips nothing that has not been read yet', async () => {
  const { context } = service;
  await backfillEvents(context);
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await service.settle(() => []);
  await service.advance(2);
  await service.buy(await service.signUp(), { plan: 'pro' });
  await service.settle(() => []);
  const now = service.sandbox.now().getTime();
  expect((await backfillEvents(context, new Date(now - 3_600_000))).added).toBeGreaterThan(0);
  expect((await backfillEvents(context, new Date(now + 365 * 86_400_000))).received).toBe(0);
  await service.work();
  expect(await service.balance(userId)).toMatchObject({ plan: 'free' });
  await backfillEvents(context);
  await service.work();
  expect(await service.balance(userId)).toEqual(PRO);
});

test('a failure leaves the event with its reason and a later attempt, and after ten it waits for a human', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  const received = await service.settle(() => []);
  await service.control('/faults', { errorRate: 1, seed: 1 });
  await backfillEvents(service.context).catch(() => undefined);
  await service.control('/faults', { errorRate: 0 });
  await backfillEvents(service.context);
  service.woken.splice(0);
  await service.control('/faults', { errorRate: 1, seed: 1 });
  const { pool } = service.context;
  const { rows } = await pool.query(
    `select id from stripe_events where status = 'pending' and type = 'invoice.paid'`,
  );
  const eventId = String(rows[0].id);
  await expect(handleStripeEvent(service.context, eventId)).rejects.toThrow();
  const failed = await findEvent(pool, eventId);
  expect(failed).toMatchObject({ status: 'pending', attempts: 1, lastError: expect.any(String) });
  expect(failed!.nextAttemptAt > failed!.receivedAt).toBe(true);
  await pool.query('update stripe_events set attempts = 9 where id = $1', [eventId]);
  await expect(handleStripeEvent(service.context, eventId)).rejects.toThrow();
  expect(await findEvent(pool, eventId)).toMatchObject({ status: 'failed', attempts: 10 });
  expect(service.alerts).toContain('event_failed');
  await service.control('/faults', { errorRate: 0 });

  expect((await listStripeEvents(service.context, { status: 'failed', limit: 10 })).data).toHaveLength(1);
  await replayStripeEvent(service.context, eventId, 'test');
  await service.work();
  expect(await readStripeEvent(service.context, eventId)).toMatchObject({
    status: 'handled',
    userId,
    lastError: null,
  });
  expect(await service.balance(userId)).toEqual(PRO);
  expect(received).toEqual([]);
}, 60_000);

test('a replay of what was handled changes nothing', async () => {
  const { data } = await listStripeEvents(service.context, { status: 'handled', limit: 100 });
  const before = await service.context.pool.query('select count(*) as count from ledger_entries');
  for (const { id } of data) await replayStripeEvent(service.context, String(id), 'test');
  await service.work();
  const after = await service.context.pool.query('select count(*) as count from ledger_entries');
  expect(after.rows).toEqual(before.rows);
  expect(await service.violations()).toEqual([]);
});

test('types that we do not act on are kept and counted as ignored', async () => {
  const { data } = await listStripeEvents(service.context, { status: 'ignored', limit: 100 });
  expect(data.map(({ type }) => type)).toContain('charge.succeeded');
});

test('the list pages by cursor and refuses what is none of it', async () => {
  const all = await listStripeEvents(service.context, { limit: 100 });
  const first = await listStripeEvents(service.context, { limit: 3 });
  const second = await listStripeEvents(service.context, { limit: 3, cursor: first.nextCursor! });
  expect([...first.data, ...second.data]).toEqual(all.data.slice(0, 6));
  for (const cursor of ['x', Buffer.from('["users","a"]').toString('base64url')]) {
    const list = listStripeEvents(service.context, { limit: 3, cursor });
    await expect(list).rejects.toMatchObject({ code: 'invalid_request' });
  }
  const list = listStripeEvents(service.context, { limit: 3, status: 'lost' });
  await expect(list).rejects.toMatchObject({ code: 'invalid_request' });
  await expect(readStripeEvent(service.context, 'evt_none')).rejects.toMatchObject({ code: 'not_found' });
});
