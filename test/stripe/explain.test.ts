// Every unit is explained: from a consumed token to the invoice line that paid for it and the events that told of it.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { consume } from '../../src/lib/credits.ts';
import { explainEntry } from '../../src/lib/explain.ts';
import { listLedger } from '../../src/lib/lists.ts';
import { replayStripeEvent } from '../../src/stripe/inbox.ts';
import { type Delivery, request, Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start();
});
afterAll(() => service.stop());

interface Explained {
  entryId: string;
  type: string;
  tokens: number;
  key: string;
  stripeEventIds: string[];
  grants: Record<string, unknown>[];
}

/** The whole ledger, oldest first, explained. */
async function explained(userId: string): Promise<Explained[]> {
  const { data } = await listLedger(service.context, userId, { limit: 100 });
  const entries = [];
  for (const { entryId } of data.reverse()) {
    entries.push(await explainEntry(service.context, userId, String(entryId)));
  }
  return entries as unknown as Explained[];
}

const idsOf = (deliveries: Delivery[], ...types: string[]): string[] =>
  deliveries.filter(({ event }) => types.includes(event.type)).map(({ event }) => event.id);

test('a paid allowance, and what was consumed of it, lead to the invoice line and the events about it', async () => {
  const userId = await service.signUp();
  const stranger = await service.subscriber();
  const sessionId = await service.buy(userId, { plan: 'pro' });
  const deliveries = await service.settle();
  await service.advance(1);
  const { body } = await consume(service.context, { userId, credits: 3 }, request('consume'));
  const entries = await explained(userId);
  const granted = entries.find(({ key }) => key.startsWith('inv:'))!;
  const [, invoiceId, invoiceLineId] = granted.key.split(':');
  const subscription = await service.subscriptionOf(userId);
  expect(subscription.latest_invoice).toBe(invoiceId);
  const [grant] = granted.grants;
  expect(grant).toMatchObject({
    source: 'allowance',
    offer: 'pro',
    tokens: 200_000,
    invoiceId,
    invoiceLineId,
    subscriptionId: subscription.id,
    costBasisMinor: 2000,
    currency: 'usd',
  });
  expect(granted.stripeEventIds).toEqual(expect.arrayContaining(idsOf(deliveries, 'invoice.paid')));
  const mine = new Set(deliveries.map(({ event }) => event.id));
  expect(granted.stripeEventIds.filter((id) => !mine.has(id))).toEqual([]);
  const consumed = entries.find(({ entryId }) => entryId === body.entryId)!;
  expect(consumed.grants).toEqual([{ ...grant, tokens: -6000 }]);
  expect(consumed.stripeEventIds).toEqual(granted.stripeEventIds);
  // Neither the free allowance nor anybody else's ledger has to do with them.
  expect(entries[0]).toMatchObject({ key: `signup:${userId}`, stripeEventIds: [] });
  const others = (await explained(stranger)).flatMap(({ stripeEventIds }) => stripeEventIds);
  expect(others.filter((id) => mine.has(id))).toEqual([]);
  expect(others.length).toBeGreaterThan(0);
  expect(sessionId).toMatch(/^cs_/);
});

test('a replayed event is still named', async () => {
  const userId = await service.subscriber();
  const granted = async () => (await explained(userId)).find(({ key }) => key.startsWith('inv:'))!;
  const before = await granted();
  await service.advance(2);
  for (const id of before.stripeEventIds) await replayStripeEvent(service.context, id, 'test');
  await service.work();
  const after = await granted();
  expect(after.stripeEventIds).toEqual(expect.arrayContaining(before.grants[0]!.stripeEventIds as string[]));
});

test('a pack leads to its Checkout session', async () => {
  const userId = await service.signUp();
  const sessionId = await service.buy(userId, { pack: 'pack_50' });
  const deliveries = await service.settle();
  const granted = (await explained(userId)).find(({ key }) => key.startsWith('pack:'))!;
  expect(granted.grants).toMatchObject([
    { source: 'top_up', checkoutSessionId: sessionId, costBasisMinor: 1000, currency: 'usd' },
  ]);
  expect(granted.stripeEventIds).toEqual(idsOf(deliveries, 'checkout.session.completed'));
});

test('what the end of a subscription voids leads to the event of that end', async () => {
  const userId = await service.subscriber();
  await service.advance(3);
  await service.stripe.subscriptions.cancel((await service.subscriptionOf(userId)).id);
  const deliveries = await service.settle();
  const voided = (await explained(userId)).find(
    ({ type, tokens }) => type === 'voided' && tokens === -200_000,
  )!;
  expect(voided.stripeEventIds).toEqual(
    expect.arrayContaining(idsOf(deliveries, 'customer.subscription.deleted')),
  );
  const granted = (await explained(userId)).find(({ key }) => key.startsWith('inv:'))!;
  expect(granted.stripeEventIds).not.toEqual(
    expect.arrayContaining(idsOf(deliveries, 'customer.subscription.deleted')),
  );
});

test('what a payment refund claws back leads to the event of the refund', async () => {
  const userId = await service.subscriber();
  await service.advance(3);
  const customer = await service.customerOf(userId);
  const { data: charges } = await service.stripe.charges.list({ customer });
  await service.stripe.refunds.create({ charge: charges[0]!.id, amount: 1000 });
  const deliveries = await service.settle();
  const clawed = (await explained(userId)).find(
    ({ type, tokens }) => type === 'voided' && tokens === -100_000,
  )!;
  const refunds = idsOf(
    deliveries,
    'charge.refunded',
    'refund.created',
    'refund.updated',
    'charge.refund.updated',
  );
  expect(clawed.stripeEventIds.filter((id) => refunds.includes(id))).not.toEqual([]);
  const granted = (await explained(userId)).find(({ key }) => key.startsWith('inv:'))!;
  expect(granted.stripeEventIds.filter((id) => refunds.includes(id))).toEqual([]);
});

test("so does a pack's, also after that event was replayed", async () => {
  const userId = await service.signUp();
  await service.buy(userId, { pack: 'pack_50' });
  await service.settle();
  await service.advance(1);
  const { data: charges } = await service.stripe.charges.list({ customer: await service.customerOf(userId) });
  await service.stripe.refunds.create({ charge: charges[0]!.id });
  const deliveries = await service.settle();
  const refunds = idsOf(deliveries, 'charge.refunded', 'refund.created', 'refund.updated');
  const clawed = async () => (await explained(userId)).find(({ tokens }) => tokens === -100_000)!;
  const behind = (await clawed()).stripeEventIds.filter((id) => refunds.includes(id));
  expect(behind).not.toEqual([]);
  await service.advance(1);
  for (const id of behind) await replayStripeEvent(service.context, id, 'test');
  await service.work();
  expect((await clawed()).stripeEventIds).toEqual(expect.arrayContaining(behind));
});
