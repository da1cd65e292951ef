/** One service as it runs: its own PostgreSQL, the webhook route over HTTP, signatures, and lanes that handle events. */
import { createHmac } from 'node:crypto';
import { pino } from 'pino';
import { configOf } from '../../src/config.ts';
import type { Clock, Context } from '../../src/context.ts';
import { type Listening, serve } from '../../src/http/listen.ts';
import type { Jobs, WakeUp } from '../../src/queue.ts';
import { openDatabase } from '../../src/store/database.ts';
import { findViolations, type Violation } from '../../src/store/invariants.ts';
import { backfillEvents, sweepInbox } from '../../src/stripe/backfill.ts';
import { openStripe } from '../../src/stripe/client.ts';
import { handleStripeEvent } from '../../src/stripe/handle.ts';
import { CATALOGUE } from '../catalogue.ts';

export const WEBHOOK_SECRET = 'whsec_of_the_simulation';

export interface ReceiverOptions {
  databaseUrl: string;
  stripeUrl: string;
  clock: Clock;
  lanes: number;
  /** 0 = any that is free. */
  port: number;
}

export class Receiver {
  /** Attempts that ended in an error; each is tried again. */
  failedAttempts = 0;
  declare readonly context: Context;
  declare private listening: Listening;
  private readonly woken: WakeUp[] = [];
  private readonly lanes: number;
  private readonly closeDatabase: () => Promise<void>;

  private constructor({ databaseUrl, stripeUrl, clock, lanes }: ReceiverOptions) {
    const config = configOf({
      DATABASE_URL: databaseUrl,
      STRIPE_SECRET_KEY: 'sk_test_simulation',
      STRIPE_WEBHOOK_SECRET: [WEBHOOK_SECRET],
      STRIPE_API_BASE: stripeUrl,
      AUTH_JWT_SECRET: 'x'.repeat(32),
    });
    const { pool, db, close } = openDatabase(databaseUrl, () => undefined, { maxConnections: lanes + 4 });
    const jobs: Jobs = {
      wake: (job) => void this.woken.push(job),
      ping: async () => undefined,
      close: async () => undefined,
    };
    const log = pino({ level: 'silent' });
    this.lanes = lanes;
    this.closeDatabase = close;
    const stripe = openStripe(config, { maxNetworkRetries: 0 });
    this.context = { config, catalogue: CATALOGUE, clock, log, stripe, jobs, pool, db };
  }

  static async start(options: ReceiverOptions): Promise<Receiver> {
    const receiver = new Receiver(options);
    receiver.listening = await serve(receiver.context, { port: options.port, host: '127.0.0.1' });
    return receiver;
  }

  get webhookUrl(): string {
    return `${this.listening.url}/webhooks/stripe`;
  }

  async stop(): Promise<void> {
    await this.listening.stop();
    await this.closeDatabase();
  }

  /** As Stripe posts it (https://docs.stripe.com/webhooks#verify-manually). */
  async post(event: object): Promise<void> {
    // Signatures age by wall time and not by business time.
    const atSeconds = Math.floor((performance.timeOrigin + performance.now()) / 1000);
    const body = JSON.stringify(event, null, 2);
    const hmac = createHmac('sha256', WEBHOOK_SECRET).update(`${atSeconds}.${body}`).digest('hex');
    const response = await fetch(this.webhookUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'stripe-signature': `t=${atSeconds},v1=${hmac}` },
      body,
    });
    if (!response.ok) throw new Error(`The webhook answered ${response.status}: ${await response.text()}`);
  }

  /** Handles what is in the queue, in all lanes at once; what fails stays in the inbox for the sweep. */
  async work(): Promise<void> {
    const lane = async (): Promise<void> => {
      for (let job = this.woken.shift(); job; job = this.woken.shift()) {
        if (job.name !== 'handle-stripe-event') continue;
        await handleStripeEvent(this.context, job.eventId).catch(() => {
          this.failedAttempts += 1;
        });
      }
    };
    await Promise.all(Array.from({ length: this.lanes }, lane));
  }

  /** What was never delivered, and what failed and is due again. */
  async heal(): Promise<number> {
    await backfillEvents(this.context);
    const due = await sweepInbox(this.context);
    await this.work();
    return due;
  }

  violations(): Promise<Violation[]> {
    return findViolations(this.context.pool);
  }
}
