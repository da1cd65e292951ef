// A service with the real sandbox over HTTP, a real database and real signatures. Events are kept as they arrive, so
// that a test decides when and in what order they are received and handled.
import { createHmac, randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import type Stripe from 'stripe';
import { type Config, configOf } from '../../src/config.ts';
import type { Context } from '../../src/context.ts';
import { type Catalogue, DEFAULT_CATALOGUE } from '../../src/domain/plans.ts';
import { type ChangeRequest, libraryRequest } from '../../src/lib/requests.ts';
import { readUsage, type ServiceUsage, signUp } from '../../src/lib/users.ts';
import { sandboxPrices } from '../../src/local.ts';
import type { Jobs, WakeUp } from '../../src/queue.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/index.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { createCheckout } from '../../src/stripe/billing.ts';
import { openStripe } from '../../src/stripe/client.ts';
import { handleStripeEvent } from '../../src/stripe/handle.ts';
import { receiveWebhook } from '../../src/stripe/webhook.ts';
import { createDistributedDatabase, createTestDatabase } from '../support/database.ts';

export const SECRET = 'whsec_test_of_the_pipeline';

export interface Delivery {
  body: Buffer;
  signature: string;
  event: { id: string; type: string };
}

/** Where the sandbox delivers to. */
async function startInboxServer(deliveries: Delivery[]): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const signature = String(request.headers['stripe-signature']);
      deliveries.push({ body, signature, event: JSON.parse(body.toString()) });
      response.end('{"received": true}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

export function testConfig(databaseUrl: string, apiBase: string): Config {
  return configOf({
    DATABASE_URL: databaseUrl,
    STRIPE_SECRET_KEY: 'sk_test_harness',
    STRIPE_WEBHOOK_SECRET: ['whsec_of_last_year', SECRET],
    STRIPE_API_BASE: apiBase,
    AUTH_JWT_SECRET: 'x'.repeat(32),
  });
}

export class Service {
  readonly deliveries: Delivery[] = [];
  /** What was asked of the queue; a test hands it to the handlers itself. */
  readonly woken: WakeUp[] = [];
  readonly alerts: string[] = [];
  declare context: Context;
  declare sandbox: Sandbox;
  declare private catalogue: Catalogue;
  private readonly closers: (() => Promise<unknown>)[] = [];

  /**
   * @param options.wallClock in milliseconds, instead of the wall's: time moves only when it is advanced
   * @param options.isDistributed on a database as prisma/citus.sql leaves it
   */
  static async start(
    catalogue: Catalogue = DEFAULT_CATALOGUE,
    { wallClock, isDistributed = false }: { wallClock?: () => number; isDistributed?: boolean } = {},
  ): Promise<Service> {
    const service = new Service();
    service.catalogue = catalogue;
    const database = await (isDistributed ? createDistributedDatabase() : createTestDatabase());
    const { url, server } = await startInboxServer(service.deliveries);
    service.sandbox = await startSandbox({
      port: 0,
      prices: sandboxPrices(catalogue),
      webhookEndpoints: [{ url, secret: SECRET }],
      ...(wallClock === undefined ? {} : { wallClock }),
    });
    const config = testConfig(database.url, service.sandbox.url);
    const opened = openDatabase(database.url, () => undefined);
    service.context = service.contextOf(config, opened);
    service.closers.push(
      () => service.sandbox.close(),
      () => new Promise((resolve) => server.close(resolve)),
      () => opened.close(),
      () => database.drop(),
    );
    return service;
  }

  private contextOf(config: Config, { pool, db }: Database): Context {
    const jobs: Jobs = {
      wake: (job) => this.woken.push(job),
      ping: async () => undefined,
      close: async () => undefined,
    };
    const log = pino({ level: 'warn' }, { write: (line) => this.noteAlert(line) });
    const stripe = openStripe(config);
    return { config, catalogue: this.catalogue, clock: this.sandbox, log, stripe, jobs, pool, db };
  }

  private noteAlert(line: string): void {
    const { alert } = JSON.parse(line) as { alert?: string };
    if (alert !== undefined) this.alerts.push(alert);
  }

  async stop(): Promise<void> {
    for (const close of this.closers) await close();
  }

  get stripe(): Stripe {
    return this.context.stripe;
  }

  async control(path: string, body: unknown = {}): Promise<Record<string, unknown>> {
    const response = await fetch(`${this.sandbox.url}/_sandbox${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    if (!response.ok) throw new Error(`${path}: ${JSON.stringify(answer)}`);
    return answer;
  }

  advance(days: number): Promise<unknown> {
    return this.control('/clock/advance', { seconds: days * 86_400 });
  }

  /** Receives and handles everything that has arrived so far, `arrange`d as the test likes. */
  async settle(arrange: (deliveries: Delivery[]) => Delivery[] = (all) => all): Promise<Delivery[]> {
    await this.control('/delivery/settle');
    const all = arrange(this.deliveries.splice(0));
    for (const delivery of all) await this.receive(delivery);
    return all;
  }

  async receive(delivery: Delivery): Promise<void> {
    await receiveWebhook(this.context, delivery.body, delivery.signature);
    await this.work();
  }

  /** Handles what is in the queue, and what that puts there. */
  async work(): Promise<void> {
    for (let job = this.woken.shift(); job; job = this.woken.shift()) {
      if (job.name === 'handle-stripe-event') await handleStripeEvent(this.context, job.eventId);
    }
  }

  async signUp(userId = `user_${randomUUID()}`): Promise<string> {
    await signUp(this.context, { userId, email: 'person@example.com' });
    return userId;
  }

  async checkout(
    userId: string,
    offer: { plan: string; interval?: 'month' | 'year' } | { pack: string },
  ): Promise<string> {
    const answer = await createCheckout(this.context, { userId, ...offer }, request('checkout'));
    return String(answer.body.sessionId);
  }

  /** Buys and pays; nothing has been received of it yet. */
  async buy(
    userId: string,
    offer: { plan: string; interval?: 'month' | 'year' } | { pack: string },
    outcome = 'succeeds',
  ): Promise<string> {
    const sessionId = await this.checkout(userId, offer);
    await this.control(`/checkout/${sessionId}/complete`, { outcome });
    return sessionId;
  }

  async subscriber(plan = 'pro', interval: 'month' | 'year' = 'month'): Promise<string> {
    const userId = await this.signUp();
    await this.buy(userId, { plan, interval });
    await this.settle();
    return userId;
  }

  async customerOf(userId: string): Promise<string> {
    const { rows } = await this.context.pool.query(
      'select id from stripe_customers where user_id = $1 and deleted_at is null',
      [userId],
    );
    return rows[0].id as string;
  }

  async payments(userId: string, outcome: string): Promise<void> {
    await this.control(`/customers/${await this.customerOf(userId)}/payment`, { outcome });
  }

  async subscriptionOf(userId: string): Promise<Stripe.Subscription> {
    const { data } = await this.stripe.subscriptions.list({
      customer: await this.customerOf(userId),
      status: 'all',
    });
    return data[0]!;
  }

  usage(userId: string): Promise<ServiceUsage> {
    return readUsage(this.context, userId);
  }

  /** Plan and credits by source: what must not depend on the order of events. */
  async balance(userId: string): Promise<Record<string, unknown>> {
    const usage = await this.usage(userId);
    const bySource: Record<string, number> = {};
    for (const { source, remainingTokens } of usage.balances) {
      bySource[source] = (bySource[source] ?? 0) + remainingTokens / 2000;
    }
    return { plan: usage.subscriptionTier, credits: usage.credits, ...bySource };
  }

  async violations(): Promise<unknown[]> {
    return findViolations(this.context.pool);
  }

  async eventsByStatus(): Promise<Record<string, number>> {
    const { rows } = await this.context.pool.query(
      'select status, count(*) as count from stripe_events group by status',
    );
    return Object.fromEntries(rows.map(({ status, count }) => [status, count]));
  }
}

export function request(scope: string, key: string = randomUUID()): ChangeRequest {
  return libraryRequest(scope, key, scope);
}

/** As Stripe signs (https://docs.stripe.com/webhooks#verify-manually). */
export function sign(body: string | Buffer, { secret = SECRET, at = Date.now() / 1000 } = {}): string {
  const time = Math.floor(at);
  const hmac = createHmac('sha256', secret).update(`${time}.`).update(body).digest('hex');
  return `t=${time},v1=${hmac}`;
}
