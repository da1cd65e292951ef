// The service behind its real HTTP door: Stripe's sandbox on one side, signed webhooks posted to /webhooks/stripe on the
// other, and what scenarios do in Stripe in between.
import type Stripe from 'stripe';
import type { Catalogue } from '../../src/domain/plans.ts';
import { serve } from '../../src/http/listen.ts';
import { consume } from '../../src/lib/credits.ts';
import { ensureCustomer } from '../../src/stripe/customers.ts';
import { TEAM_CATALOGUE } from '../stripe/catalogue.ts';
import { type Delivery, request, Service, sign } from '../stripe/harness.ts';

export interface Scene {
  service: Service;
  /** The base address of the API. */
  url: string;
  stop(): Promise<void>;
}

/** Time stands still unless it is advanced, so that what Stripe does a second later waits for the test. */
export async function startScene(catalogue: Catalogue = TEAM_CATALOGUE): Promise<Scene> {
  const startedAt = Date.now();
  const service = await Service.start(catalogue, { wallClock: () => startedAt });
  const listening = await serve(service.context, { port: 0, host: '127.0.0.1' });
  service.receive = async (delivery) => {
    const { status } = await post(listening.url, delivery);
    if (status !== 200) throw new Error(`${delivery.event.type} was answered with ${status}.`);
    await service.work();
  };
  const stop = async (): Promise<void> => {
    await listening.stop();
    await service.stop();
  };
  return { service, url: listening.url, stop };
}

export function post(url: string, { body, signature }: Pick<Delivery, 'body' | 'signature'>) {
  return fetch(`${url}/webhooks/stripe`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'stripe-signature': signature },
    body: new Uint8Array(body),
  });
}

/** An event that the sandbox would not send: signed as Stripe signs. */
export function signed(event: { id: string; type: string } & Record<string, unknown>): Delivery {
  const body = Buffer.from(JSON.stringify(event, null, 2));
  return { body, signature: sign(body), event };
}

/** A pointer at an object, as an event of any API version is one. */
export function eventOf(type: string, object: Record<string, unknown>, more: object = {}): Delivery {
  return signed({
    id: `evt_${Math.random().toString(36).slice(2)}`,
    object: 'event',
    type,
    api_version: '2026-10-28.endive',
    created: 1_795_000_000,
    livemode: false,
    pending_webhooks: 1,
    request: { id: null, idempotency_key: null },
    data: { object },
    ...more,
  });
}

/** Nothing that happened so far is ever heard of. */
export const lost = (): Delivery[] => [];
export const only =
  (...types: string[]) =>
  (all: Delivery[]): Delivery[] =>
    all.filter(({ event }) => types.includes(event.type));
export const without =
  (...types: string[]) =>
  (all: Delivery[]): Delivery[] =>
    all.filter(({ event }) => !types.includes(event.type));

export const spend = (service: Service, userId: string, credits: number) =>
  consume(service.context, { userId, credits }, request('consume'));

export async function priceId({ stripe }: Service, lookupKey: string): Promise<string> {
  return (await stripe.prices.list({ lookup_keys: [lookupKey] })).data[0]!.id;
}

/** A subscription made in the Dashboard; with a card unless `card` is null. */
export async function subscribe(
  service: Service,
  userId: string,
  params: Partial<Stripe.SubscriptionCreateParams> = {},
  card: string | null = 'pm_card_visa',
): Promise<Stripe.Subscription> {
  const customer = await ensureCustomer(service.context, userId);
  const method = card === null ? null : await service.stripe.paymentMethods.attach(card, { customer });
  return service.stripe.subscriptions.create({
    customer,
    ...(method === null ? {} : { default_payment_method: method.id }),
    items: [{ price: await priceId(service, 'pro_monthly') }],
    ...params,
  });
}

/** Changes the plan in the Dashboard. */
export async function switchTo(
  service: Service,
  userId: string,
  lookupKey: string,
  params: Partial<Stripe.SubscriptionUpdateParams> = {},
): Promise<Stripe.Subscription> {
  const { id, items } = await service.subscriptionOf(userId);
  return service.stripe.subscriptions.update(id, {
    items: [{ id: items.data[0]!.id, price: await priceId(service, lookupKey) }],
    ...params,
  });
}

/** Newest first. */
export async function invoicesOf(service: Service, userId: string): Promise<Stripe.Invoice[]> {
  const customer = await service.customerOf(userId);
  return (await service.stripe.invoices.list({ customer, limit: 100 })).data;
}

/** The newest charge of the user. */
export async function chargeOf(service: Service, userId: string): Promise<Stripe.Charge> {
  const customer = await service.customerOf(userId);
  return (await service.stripe.charges.list({ customer, limit: 1 })).data[0]!;
}

export async function refund(service: Service, userId: string, amount?: number): Promise<Stripe.Refund> {
  const { id: charge } = await chargeOf(service, userId);
  return service.stripe.refunds.create({ charge, ...(amount === undefined ? {} : { amount }) });
}

/** @returns the id of the dispute */
export async function dispute(service: Service, userId: string, body: object = {}): Promise<string> {
  const { id } = await chargeOf(service, userId);
  return String((await service.control(`/charges/${id}/dispute`, body)).id);
}

export const closeDispute = (service: Service, id: string, status: 'won' | 'lost') =>
  service.control(`/disputes/${id}/close`, { status });

/** Debt and entries of a user, as the ledger has them. */
export async function debtOf({ context }: Service, userId: string): Promise<number> {
  const { rows } = await context.pool.query('select debt_tokens from users where id = $1', [userId]);
  return Number(rows[0].debt_tokens) / 2000;
}

export async function entriesOf({ context }: Service, userId: string): Promise<number> {
  const { rows } = await context.pool.query(
    'select count(*) as count from ledger_entries where user_id = $1',
    [userId],
  );
  return Number(rows[0].count);
}
