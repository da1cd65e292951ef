// What Stripe hears from us and what we keep: 200 means stored, a failure is never answered or marked as done, and the
// mark of "handled" commits with its effect (stripe.md C2 4 to 6, B4).
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { findEvent } from '../../src/store/inbox.ts';
import { backfillEvents, sweepInbox } from '../../src/stripe/backfill.ts';
import { handleStripeEvent } from '../../src/stripe/handle.ts';
import { type Service, sign } from '../stripe/harness.ts';
import { entriesOf, eventOf, lost, only, post, type Scene, type signed, startScene } from './scene.ts';

let scene: Scene;
let service: Service;
beforeAll(async () => {
  scene = await startScene();
  service = scene.service;
});
beforeEach(() => service.settle(lost).then(() => undefined));
afterAll(() => scene.stop());

const FREE = { plan: 'free', credits: 5, allowance: 5 };
const PRO = { plan: 'pro', credits: 100, allowance: 100 };

async function paidEvent(): Promise<{ userId: string; delivery: ReturnType<typeof signed> }> {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await service.control('/delivery/settle');
  const [delivery] = only('invoice.paid')(service.deliveries.splice(0));
  return { userId, delivery: delivery! };
}

test('an event that could not be stored is answered with 5xx, and Stripe’s next delivery of it counts', async () => {
  const { userId, delivery } = await paidEvent();
  const { pool } = service.context;
  await pool.query('alter table stripe_events rename to stripe_events_away');
  expect((await post(scene.url, delivery)).status).toBeGreaterThanOrEqual(500);
  await pool.query('alter table stripe_events_away rename to stripe_events');
  expect(await service.balance(userId)).toEqual(FREE);
  await service.receive(delivery);
  expect(await service.balance(userId)).toEqual(PRO);
});

test('an event whose effect could not be written is not marked as handled, and is done when it can be', async () => {
  const { userId, delivery } = await paidEvent();
  const { pool } = service.context;
  await pool.query(
    `alter table credit_grants add constraint no_grant_now check (invoice_id is null) not valid`,
  );
  expect((await post(scene.url, delivery)).status).toBe(200);
  service.woken.splice(0);
  await expect(handleStripeEvent(service.context, delivery.event.id)).rejects.toThrow();
  expect(await findEvent(pool, delivery.event.id)).toMatchObject({ status: 'pending', attempts: 1 });
  expect(await service.balance(userId)).toEqual(FREE);
  // Not even half of it: no plan without its credits.
  const { rows } = await pool.query('select count(*) as count from subscriptions where user_id = $1', [
    userId,
  ]);
  expect(Number(rows[0].count)).toBe(0);
  await pool.query('alter table credit_grants drop constraint no_grant_now');
  await service.advance(1);
  await sweepInbox(service.context);
  await service.work();
  expect(await findEvent(pool, delivery.event.id)).toMatchObject({ status: 'handled', userId });
  expect(await service.balance(userId)).toEqual(PRO);
});

test('a repeated delivery of an event that failed is another attempt, one of an event that is done is none', async () => {
  const { userId, delivery } = await paidEvent();
  await service.control('/faults', { errorRate: 1, seed: 1 });
  await post(scene.url, delivery);
  service.woken.splice(0);
  await expect(handleStripeEvent(service.context, delivery.event.id)).rejects.toThrow();
  await service.control('/faults', { errorRate: 0 });
  await service.receive(delivery);
  expect(await service.balance(userId)).toEqual(PRO);
  const entries = await entriesOf(service, userId);
  await service.receive(delivery);
  expect(service.woken).toEqual([]);
  expect(await entriesOf(service, userId)).toBe(entries);
});

test('an event whose object is gone, or nobody’s, is answered with 200 and stays visible', async () => {
  const gone = eventOf('invoice.paid', { id: 'in_gone', object: 'invoice', customer: 'cus_gone' });
  expect((await post(scene.url, gone)).status).toBe(200);
  service.woken.splice(0);
  await expect(handleStripeEvent(service.context, gone.event.id)).rejects.toThrow();
  expect(await findEvent(service.context.pool, gone.event.id)).toMatchObject({
    status: 'pending',
    lastError: expect.stringContaining('in_gone'),
  });
});

test('only a signature or a body that is no event is answered with 400', async () => {
  const { body, signature } = eventOf('invoice.paid', { id: 'in_1', object: 'invoice' });
  expect((await post(scene.url, { body, signature })).status).toBe(200);
  const other = Buffer.from(body.toString().replace('in_1', 'in_2'));
  expect((await post(scene.url, { body: other, signature })).status).toBe(400);
  // The same JSON, printed otherwise, is another body.
  const compact = Buffer.from(JSON.stringify(JSON.parse(body.toString())));
  expect((await post(scene.url, { body: compact, signature })).status).toBe(400);
  expect((await post(scene.url, { body: compact, signature: sign(compact) })).status).toBe(200);
  service.woken.splice(0);
});

test('a body of 1 MB is an event as any other', async () => {
  const event = eventOf('invoice.created', { id: 'in_1', object: 'invoice', note: 'x'.repeat(1_000_000) });
  expect((await post(scene.url, event)).status).toBe(200);
  await service.work();
});

test('after a week without any webhook the list of events brings everything, also what has ended since', async () => {
  const keeps = await service.signUp();
  const ends = await service.signUp();
  const buysPack = await service.signUp();
  await backfillEvents(service.context);
  await service.work();
  await service.buy(keeps, { plan: 'pro' });
  await service.buy(ends, { plan: 'pro' });
  await service.buy(buysPack, { pack: 'pack_50' });
  await service.advance(3);
  await service.stripe.subscriptions.cancel((await service.subscriptionOf(ends)).id);
  await service.advance(4);
  await service.settle(lost);
  await backfillEvents(service.context);
  await service.work();
  expect(await service.balance(keeps)).toEqual(PRO);
  expect(await service.balance(ends)).toEqual({ plan: 'free', credits: 0 });
  expect(await service.balance(buysPack)).toEqual({ ...FREE, credits: 55, top_up: 50 });
  const { rows } = await service.context.pool.query(
    'select count(*) as count from credit_grants where user_id = $1 and invoice_id is not null',
    [ends],
  );
  // Paid for and explained, although it was over when it was heard of.
  expect(Number(rows[0].count)).toBe(1);
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});
