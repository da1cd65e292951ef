import { isDeepStrictEqual } from 'node:util';
import type Stripe from 'stripe';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Sandbox, startSandbox } from '../../../src/sandbox/index.ts';
import { Cli, Hook } from './cli.ts';

const SECRET = 'whsec_of_the_trigger_test';
const hook = new Hook(SECRET);
const forwarded = new Hook('not yet known');
const errors: unknown[] = [];
let sandbox: Sandbox;
let cli: Cli;

beforeAll(async () => {
  const url = await hook.start();
  sandbox = await startSandbox({
    port: 0,
    prices: [],
    webhookEndpoints: [{ url, secret: SECRET }],
    onError: (error) => errors.push(error),
  });
  cli = new Cli(sandbox.url);
  const to = await forwarded.start();
  const listening = cli.start('listen', '--skip-update', '--all-snapshot', '--forward-to', to);
  const [, secret = ''] = await listening.says(/signing secret is (whsec_[0-9a-f]{64})/);
  forwarded.secret = secret;
});
beforeEach(async () => {
  // What the scenario before still has under way must not pass for an event of the next.
  await fetch(`${sandbox.url}/_sandbox/delivery/settle`, { method: 'POST' });
  hook.events = [];
  forwarded.events = [];
});
afterAll(async () => {
  cli.stop();
  await sandbox.close();
  await hook.stop();
  await forwarded.stop();
});

interface Row {
  /** The event that has to arrive, if it is not called as the trigger is. */
  arrives?: string;
  /** What the object in it must show. */
  shows?: Record<string, unknown>;
  /** What the event must say has changed. */
  changed?: string[];
}

const FOO = { metadata: { foo: 'bar' } };

/** `stripe trigger` for every scenario the project relies on: what our receiver got, not the CLI's word. */
const ROWS: Record<string, Row> = {
  'checkout.session.completed': {
    shows: { status: 'complete', payment_status: 'paid', amount_total: 3000, mode: 'payment' },
  },
  'checkout.session.async_payment_succeeded': { shows: { payment_status: 'paid', currency: 'eur' } },
  'checkout.session.async_payment_failed': { shows: { payment_status: 'unpaid', currency: 'eur' } },
  'checkout.session.expired': { shows: { status: 'expired', url: null } },
  'customer.created': { shows: { object: 'customer' } },
  'customer.updated': { shows: FOO, changed: ['metadata'] },
  'customer.deleted': { shows: { object: 'customer' } },
  'customer.subscription.created': { shows: { object: 'subscription' } },
  'customer.subscription.updated': { shows: FOO, changed: ['metadata'] },
  'customer.subscription.deleted': { shows: { status: 'canceled' } },
  'customer.subscription.trial_will_end': { shows: { status: 'trialing' } },
  'customer.subscription.paused': { shows: { status: 'paused' } },
  'invoice.created': { shows: { status: 'draft', billing_reason: 'manual' } },
  'invoice.updated': { shows: FOO, changed: ['metadata'] },
  'invoice.finalized': { shows: { status: 'open', amount_due: 2000 } },
  'invoice.voided': { shows: { status: 'void' } },
  'invoice.marked_uncollectible': { shows: { status: 'uncollectible' } },
  'invoice.paid': { shows: { status: 'paid', amount_paid: 2000 } },
  'invoice.payment_succeeded': { shows: { status: 'paid', amount_paid: 2000 } },
  'invoice.payment_failed': { shows: { status: 'open', attempt_count: 1 } },
  'invoice.payment_action_required': { shows: { status: 'open', attempt_count: 1 } },
  'charge.refunded': { shows: { refunded: true, amount_refunded: 100 } },
  'charge.refund.updated': {
    shows: { object: 'refund', metadata: { order_id: '6735' } },
    changed: ['metadata'],
  },
  'charge.failed': { shows: { status: 'failed', failure_code: 'card_declined' } },
  'charge.dispute.created': { shows: { status: 'warning_needs_response', amount: 100 } },
  'charge.dispute.updated': { shows: FOO, changed: ['metadata'] },
  'charge.dispute.closed': { shows: { object: 'dispute' } },
  'subscription.payment_succeeded': {
    arrives: 'invoice.payment_succeeded',
    shows: { status: 'paid', billing_reason: 'subscription_create' },
  },
  'subscription.payment_failed': {
    arrives: 'invoice.payment_failed',
    shows: { status: 'open', billing_reason: 'subscription_create' },
  },
  'credit_note.created': { shows: { object: 'credit_note', amount: 1000 } },
  'subscription_schedule.created': { shows: { object: 'subscription_schedule' } },
  'subscription_schedule.released': { shows: { status: 'released' } },
  'subscription_schedule.canceled': { shows: { status: 'canceled' } },
  'subscription_schedule.aborted': { shows: { status: 'canceled' } },
  'subscription_schedule.completed': { shows: { status: 'completed' } },
  'test_helpers.test_clock.created': { shows: { status: 'ready', frozen_time: 1577836800 } },
  'test_helpers.test_clock.advancing': { shows: { status: 'advancing' } },
  'test_helpers.test_clock.ready': { shows: { status: 'ready', frozen_time: 1580515200 } },
  'test_helpers.test_clock.deleted': { shows: { object: 'test_helpers.test_clock' } },
  'billing_portal.session.created': { shows: { object: 'billing_portal.session' } },
  'payment_method.attached': { shows: { type: 'card' } },
  'customer.discount.created': { shows: { object: 'discount' } },
};

/** Scenarios beyond those, which the sandbox's objects allow as well. */
const MORE: Record<string, Row> = Object.fromEntries(
  [
    'billing_portal.configuration.created',
    'billing_portal.configuration.updated',
    'charge.captured',
    'charge.succeeded',
    'coupon.created',
    'coupon.deleted',
    'coupon.updated',
    'credit_note.updated',
    'credit_note.voided',
    'customer.discount.deleted',
    'invoice.deleted',
    'invoice.sent',
    'invoiceitem.created',
    'invoiceitem.deleted',
    'payment_intent.amount_capturable_updated',
    'payment_intent.canceled',
    'payment_intent.created',
    'payment_intent.payment_failed',
    'payment_intent.requires_action',
    'payment_intent.succeeded',
    'payment_method.detached',
    'payment_method.updated',
    'price.created',
    'price.updated',
    'product.created',
    'product.deleted',
    'product.updated',
    'promotion_code.created',
    'promotion_code.updated',
    'setup_intent.canceled',
    'setup_intent.created',
    'setup_intent.requires_action',
    'setup_intent.setup_failed',
    'setup_intent.succeeded',
    'subscription_schedule.updated',
  ].map((scenario) => [scenario, {}]),
);

test('the tables have 42 and 35 scenarios', () => {
  expect(Object.keys(ROWS)).toHaveLength(42);
  expect(Object.keys({ ...ROWS, ...MORE })).toHaveLength(42 + 35);
});

const SCENARIOS = Object.entries({ ...ROWS, ...MORE });

test.each(SCENARIOS)('stripe trigger %s', async (scenario, { arrives, shows = {}, changed = [] }) => {
  const { code, out } = await cli.run('trigger', scenario);
  expect(out).toContain('Trigger succeeded!');
  expect(code).toBe(0);
  const wanted = arrives ?? scenario;
  const { id } = await hook.receives(`${wanted} with ${JSON.stringify({ shows, changed })}`, (event) =>
    fits(event, wanted, shows, changed),
  );
  // The same event through `stripe listen`, verified with the secret that the CLI printed.
  await forwarded.receives(`${wanted} through stripe listen`, (event) => event.id === id);
  expect([...hook.rejected, ...forwarded.rejected]).toEqual([]);
  expect(errors).toEqual([]);
});

/** Several events of a type may come; one of them has to be the one. */
function fits(event: Stripe.Event, type: string, shows: object, changed: readonly string[]): boolean {
  if (event.type !== type) return false;
  expect(event).toMatchObject({ object: 'event', livemode: false, api_version: '2026-10-28.endive' });
  const previous = Object.keys(event.data.previous_attributes ?? {});
  return (
    isDeepStrictEqual({ ...event.data.object, ...shows }, event.data.object) &&
    changed.every((key) => previous.includes(key))
  );
}
