import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Stripe from 'stripe';
import { type Sandbox, startSandbox } from '../../src/sandbox/index.ts';

const SECRET = 'whsec_test_of_the_sandbox';

/** A webhook receiver that accepts only what the SDK verifies. */
export class Receiver {
  readonly events: Stripe.Event[] = [];
  readonly rejected: unknown[] = [];
  /** How many of the next deliveries to answer with 500. */
  failures = 0;
  #server: Server | undefined;

  async start(stripe: Stripe): Promise<string> {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const signature = request.headers['stripe-signature'];
        try {
          const event = stripe.webhooks.constructEvent(Buffer.concat(chunks), String(signature), SECRET);
          if (this.failures > 0) {
            this.failures -= 1;
            response.writeHead(500).end();
            return;
          }
          this.events.push(event);
          response.writeHead(200).end();
        } catch (error) {
          this.rejected.push(error);
          response.writeHead(400).end();
        }
      });
    });
    await new Promise<void>((resolve) => this.#server?.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/webhooks`;
  }

  get types(): string[] {
    return this.events.map((event) => event.type);
  }

  take(): string[] {
    return this.events.splice(0).map((event) => event.type);
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise<void>((resolve) => this.#server?.close(() => resolve()) ?? resolve());
  }
}

export interface Harness {
  sandbox: Sandbox;
  stripe: Stripe;
  receiver: Receiver;
  errors: unknown[];
  control: (path: string, body?: unknown) => Promise<Record<string, unknown>>;
  advance: (seconds: number) => Promise<Record<string, unknown>>;
  advanceTo: (instant: string) => Promise<Record<string, unknown>>;
  price: (lookupKey: string) => Promise<string>;
  stop: () => Promise<void>;
}

export const DAY = 86_400;

export function client(url: string, config: Partial<Stripe.StripeConfig> = {}): Stripe {
  const { hostname, port } = new URL(url);
  return new Stripe('sk_test_harness', {
    host: hostname,
    port: Number(port),
    protocol: 'http',
    maxNetworkRetries: 0,
    ...config,
  });
}

export async function startHarness(): Promise<Harness> {
  const receiver = new Receiver();
  const errors: unknown[] = [];
  const endpoint = await receiver.start(new Stripe('sk_test_verify'));
  const sandbox = await startSandbox({
    port: 0,
    prices: [
      { lookupKey: 'pro_monthly', productName: 'Pro', unitAmount: 2000, currency: 'usd', interval: 'month' },
      { lookupKey: 'pro_annual', productName: 'Pro', unitAmount: 20_000, currency: 'usd', interval: 'year' },
      { lookupKey: 'pack_50', productName: '50 credits', unitAmount: 1000, currency: 'usd' },
    ],
    webhookEndpoints: [{ url: endpoint, secret: SECRET }],
    onError: (error) => errors.push(error),
  });
  const stripe = client(sandbox.url);
  const control = async (path: string, body: unknown = {}): Promise<Record<string, unknown>> => {
    const response = await fetch(`${sandbox.url}/_sandbox${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    if (!response.ok)
      throw Object.assign(new Error(JSON.stringify(answer)), { status: response.status, answer });
    return answer;
  };
  return {
    sandbox,
    stripe,
    receiver,
    errors,
    control,
    advance: (seconds) => control('/clock/advance', { seconds }),
    advanceTo: (to) => control('/clock/advance', { to }),
    price: async (lookupKey) => (await stripe.prices.list({ lookup_keys: [lookupKey] })).data[0]!.id,
    stop: async () => {
      await sandbox.close();
      await receiver.stop();
    },
  };
}

/** A customer who has bought a plan on the hosted page. */
export async function subscribe(
  harness: Harness,
  lookupKey = 'pro_monthly',
  extra: Stripe.Checkout.SessionCreateParams = {},
): Promise<{ customer: string; subscription: string; session: Stripe.Checkout.Session }> {
  const customer = await harness.stripe.customers.create({ email: 'ada@example.com', name: 'Ada' });
  const open = await harness.stripe.checkout.sessions.create({
    mode: 'subscription',
    customer: customer.id,
    client_reference_id: 'user_1',
    line_items: [{ price: await harness.price(lookupKey), quantity: 1 }],
    success_url: 'http://127.0.0.1:1/ok?session={CHECKOUT_SESSION_ID}',
    cancel_url: 'http://127.0.0.1:1/cancelled',
    ...extra,
  });
  await harness.control(`/checkout/${open.id}/complete`);
  const session = await harness.stripe.checkout.sessions.retrieve(open.id);
  return { customer: customer.id, subscription: String(session.subscription), session };
}

export const isoOf = (seconds: number | undefined | null): string =>
  new Date((seconds ?? 0) * 1000).toISOString();

/** The clock of a new sandbox is the wall's; scenarios that need a date go to the first such date ahead. */
export function nextYearsDate(monthAndDay: string): string {
  return `${new Date().getUTCFullYear() + 1}-${monthAndDay}T12:00:00.000Z`;
}
