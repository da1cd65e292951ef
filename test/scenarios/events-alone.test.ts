// Every event that we subscribe to (stripe.md B1), arriving alone: whatever was lost before it, it leads to what Stripe
// says now.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { HANDLED_EVENT_TYPES } from '../../src/stripe/events.ts';
import type { Delivery, Service } from '../stripe/harness.ts';
import {
  chargeOf,
  closeDispute,
  dispute,
  eventOf,
  invoicesOf,
  lost,
  only,
  priceId,
  refund,
  type Scene,
  spend,
  startScene,
  subscribe,
  switchTo,
} from './scene.ts';

let scene: Scene;
let service: Service;
beforeAll(async () => {
  scene = await startScene();
  service = scene.service;
});
beforeEach(async () => {
  await service.settle(lost);
  service.alerts.splice(0);
});
afterAll(() => scene.stop());

interface Story {
  /** What happens in Stripe; none of it is heard, but for what the story settles itself. */
  tell(userId: string): Promise<unknown>;
  ends: object;
  alert?: string;
  /** Where the sandbox sends no such event: what Stripe would point at. */
  points?(userId: string): Promise<Record<string, unknown>>;
}

const FREE = { plan: 'free', credits: 5, allowance: 5 };
const SPENT_FREE = { plan: 'free', credits: 0 };
const PRO = { plan: 'pro', credits: 100, allowance: 100 };
const TEAM = { plan: 'team', credits: 300, allowance: 300 };
const PACK = { plan: 'free', credits: 55, allowance: 5, top_up: 50 };

const buys = (offer: { plan: string } | { pack: string }, outcome?: string) => (userId: string) =>
  service.buy(userId, offer, outcome);

async function bought(userId: string): Promise<void> {
  await service.buy(userId, { plan: 'pro' });
  await service.settle(lost);
}

async function failsToRenew(userId: string): Promise<void> {
  await bought(userId);
  await service.payments(userId, 'card_declined');
  await service.advance(32);
}

async function upgradesUnpaid(userId: string): Promise<void> {
  await bought(userId);
  await service.payments(userId, 'card_declined');
  await switchTo(service, userId, 'team_monthly', {
    proration_behavior: 'always_invoice',
    payment_behavior: 'pending_if_incomplete',
  });
  await service.settle(lost);
}

async function disputed(userId: string, body: object = {}): Promise<string> {
  await bought(userId);
  return dispute(service, userId, body);
}

async function creditNote(userId: string, note: object): Promise<string> {
  await bought(userId);
  const [invoice] = await invoicesOf(service, userId);
  return (await service.stripe.creditNotes.create({ invoice: invoice!.id!, ...note })).id;
}

async function cancelled(userId: string): Promise<string> {
  await bought(userId);
  return (await service.stripe.subscriptions.cancel((await service.subscriptionOf(userId)).id)).id;
}

async function pauses(userId: string): Promise<string> {
  await bought(userId);
  const { id } = await service.subscriptionOf(userId);
  await service.stripe.subscriptions.pause(id, {
    type: 'subscription',
    bill_for: { unused_time_from: { type: 'none' } },
  });
  return id;
}

const STORIES: Record<string, Story> = {
  'checkout.session.completed': { tell: buys({ plan: 'pro' }), ends: PRO },
  'checkout.session.async_payment_succeeded': {
    async tell(userId) {
      await service.buy(userId, { pack: 'pack_50' }, 'async_succeeds');
      await service.advance(5);
    },
    ends: PACK,
  },
  'checkout.session.async_payment_failed': {
    async tell(userId) {
      await service.buy(userId, { pack: 'pack_50' }, 'async_fails');
      await service.advance(5);
    },
    ends: FREE,
  },
  'checkout.session.expired': {
    async tell(userId) {
      const session = await service.checkout(userId, { pack: 'pack_50' });
      await service.stripe.checkout.sessions.expire(session);
    },
    ends: FREE,
  },
  'customer.subscription.created': { tell: buys({ plan: 'pro' }), ends: PRO },
  'customer.subscription.updated': {
    async tell(userId) {
      await bought(userId);
      const price = await priceId(service, 'team_monthly');
      await switchTo(service, userId, 'team_monthly', { proration_behavior: 'always_invoice' });
      expect((await service.subscriptionOf(userId)).items.data[0]?.price.id).toBe(price);
    },
    ends: TEAM,
  },
  'customer.subscription.deleted': { tell: cancelled, ends: SPENT_FREE },
  'customer.subscription.paused': { tell: pauses, ends: { plan: 'free', credits: 100, allowance: 100 } },
  'customer.subscription.resumed': {
    async tell(userId) {
      const id = await pauses(userId);
      await service.advance(1);
      await service.stripe.subscriptions.resume(id, { billing_cycle_anchor: { type: 'now' } });
    },
    ends: PRO,
  },
  'customer.subscription.trial_will_end': {
    async tell(userId) {
      await subscribe(service, userId, { trial_period_days: 10 });
      await service.settle(lost);
      await service.advance(8);
    },
    ends: PRO,
  },
  'customer.subscription.pending_update_applied': {
    async tell(userId) {
      await upgradesUnpaid(userId);
      await service.payments(userId, 'succeeds');
      const [invoice] = await invoicesOf(service, userId);
      await service.stripe.invoices.pay(invoice!.id!);
    },
    ends: TEAM,
  },
  'customer.subscription.pending_update_expired': {
    async tell(userId) {
      await upgradesUnpaid(userId);
      await service.advance(1);
    },
    ends: PRO,
  },
  'invoice.paid': { tell: buys({ plan: 'pro' }), ends: PRO },
  'invoice.payment_failed': {
    async tell(userId) {
      await failsToRenew(userId);
    },
    ends: PRO,
  },
  'invoice.payment_action_required': {
    tell: (userId) =>
      subscribe(service, userId, { payment_behavior: 'allow_incomplete' }, 'pm_card_threeDSecureRequired'),
    ends: FREE,
  },
  'invoice.finalization_failed': {
    tell: bought,
    ends: PRO,
    alert: 'invoice_finalization_failed',
    points: async (userId) => ({ ...(await invoicesOf(service, userId))[0] }),
  },
  'invoice.voided': {
    async tell(userId) {
      await failsToRenew(userId);
      const [invoice] = await invoicesOf(service, userId);
      await service.stripe.invoices.voidInvoice(invoice!.id!);
    },
    ends: PRO,
    alert: 'invoice_voided',
  },
  'invoice.marked_uncollectible': {
    async tell(userId) {
      await failsToRenew(userId);
      const [invoice] = await invoicesOf(service, userId);
      await service.stripe.invoices.markUncollectible(invoice!.id!);
    },
    ends: PRO,
    alert: 'invoice_marked_uncollectible',
  },
  'charge.refunded': {
    async tell(userId) {
      await bought(userId);
      await refund(service, userId, 500);
    },
    ends: { plan: 'pro', credits: 75, allowance: 75 },
  },
  'refund.created': {
    async tell(userId) {
      await service.buy(userId, { pack: 'pack_50' });
      await service.settle(lost);
      await refund(service, userId);
    },
    ends: FREE,
  },
  'refund.updated': {
    async tell(userId) {
      await bought(userId);
      await refund(service, userId, 2000);
    },
    ends: { plan: 'pro', credits: 0 },
  },
  'refund.failed': {
    async tell(userId) {
      await subscribe(service, userId, {}, 'pm_card_refundFail');
      await refund(service, userId, 2000);
      await service.settle();
      expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 0 });
      await service.advance(1);
    },
    ends: PRO,
  },
  'charge.dispute.created': { tell: disputed, ends: { plan: 'pro', credits: 0 } },
  'charge.dispute.updated': {
    async tell(userId) {
      const id = await disputed(userId, { amount: 1000 });
      await service.stripe.disputes.update(id, { evidence: { uncategorized_text: 'It was theirs.' } });
    },
    ends: { plan: 'pro', credits: 50, allowance: 50 },
  },
  'charge.dispute.funds_withdrawn': { tell: disputed, ends: { plan: 'pro', credits: 0 } },
  'charge.dispute.funds_reinstated': {
    async tell(userId) {
      const id = await disputed(userId);
      await service.settle();
      expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 0 });
      await closeDispute(service, id, 'won');
    },
    ends: PRO,
  },
  'charge.dispute.closed': {
    async tell(userId) {
      const id = await disputed(userId);
      await service.settle(lost);
      await closeDispute(service, id, 'lost');
    },
    ends: { plan: 'pro', credits: 0 },
  },
  'credit_note.created': {
    tell: (userId) => creditNote(userId, { amount: 500, credit_amount: 500 }),
    ends: { plan: 'pro', credits: 75, allowance: 75 },
  },
  'credit_note.voided': {
    async tell(userId) {
      await failsToRenew(userId);
      const [invoice] = await invoicesOf(service, userId);
      const note = await service.stripe.creditNotes.create({ invoice: invoice!.id!, amount: 500 });
      await service.stripe.creditNotes.voidCreditNote(note.id);
    },
    ends: PRO,
  },
  'customer.updated': {
    async tell(userId) {
      const customer = await service.customerOf(userId);
      await service.stripe.customers.update(customer, { name: 'Ada' });
    },
    ends: FREE,
  },
  'customer.deleted': {
    async tell(userId) {
      await bought(userId);
      await service.stripe.customers.del(await service.customerOf(userId));
    },
    ends: SPENT_FREE,
  },
  'price.updated': {
    async tell(userId) {
      await spend(service, userId, 1);
      const price = await priceId(service, 'team_annual');
      await service.stripe.prices.update(price, { active: false });
    },
    ends: { plan: 'free', credits: 4, allowance: 4 },
    alert: 'catalogue_drift',
  },
  'product.updated': {
    async tell() {
      const { data } = await service.stripe.products.list({ limit: 1 });
      await service.stripe.products.update(data[0]!.id, { name: 'Renamed' });
    },
    ends: FREE,
  },
};

test('there is a story of every event type that we subscribe to', () => {
  expect(Object.keys(STORIES).sort()).toEqual([...HANDLED_EVENT_TYPES].sort());
});

test.each(Object.entries(STORIES))('%s', async (type, { tell, ends, alert, points }) => {
  const userId = await service.signUp();
  await service.checkout(userId, { pack: 'pack_50' });
  await service.settle(lost);
  await tell(userId);
  const heard: Delivery[] = points
    ? [...(await service.settle(lost)), eventOf(type, await points(userId))]
    : await service.settle(only(type));
  if (points) for (const one of heard) await service.receive(one);
  expect(heard.length).toBeGreaterThan(0);
  expect(await service.balance(userId)).toEqual(ends);
  expect(service.alerts.includes(alert ?? '')).toBe(alert !== undefined);
  const { pool } = service.context;
  const { rows } = await pool.query('select distinct status from stripe_events where type = $1', [type]);
  expect(rows).toEqual([{ status: 'handled' }]);
  // Once more: nothing changes.
  for (const one of heard) await service.receive(one);
  expect(await service.balance(userId)).toEqual(ends);
  expect(await service.violations()).toEqual([]);
});

test('a charge that paid for nothing of ours is ignored, refunded or not', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  const { id } = await chargeOf(service, userId);
  const own = await service.stripe.paymentIntents.create({
    amount: 900,
    currency: 'usd',
    payment_method: 'pm_card_visa',
    confirm: true,
    automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
  });
  expect(own.latest_charge).not.toBe(id);
  await service.stripe.refunds.create({ payment_intent: own.id });
  await service.settle();
  expect(await service.balance(userId)).toEqual(PRO);
  const { pool } = service.context;
  const { rows } = await pool.query(
    `select count(*) as count from stripe_events where type = 'charge.refunded' and status = 'ignored'`,
  );
  expect(Number(rows[0].count)).toBe(1);
});
