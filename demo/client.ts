/** A caller of Tollgate and of its sandbox, over HTTP like anybody else. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import Stripe from 'stripe';
import { z } from 'zod';
import type { DevFile } from '../src/dev-home.ts';

const usageSchema = z.object({
  credits: z.number(),
  availableTokens: z.number(),
  totalTokens: z.number(),
  totalTokensUsed: z.number(),
  subscriptionTier: z.string(),
  nextResetAt: z.string(),
});
export type Usage = z.infer<typeof usageSchema>;

const entrySchema = z.object({ type: z.string(), tokens: z.number() });
const pageSchema = z.object({ data: z.array(entrySchema), nextCursor: z.string().nullable() });

export interface Response {
  status: number;
  body: Record<string, unknown>;
}

/** Webhooks are handled within milliseconds; this is when to give up on one. */
const PATIENCE_MS = 20_000;
const POLL_MS = 40;

export class Client {
  private readonly stripe: Stripe;

  constructor(
    private readonly dev: DevFile & { sandboxUrl: string },
    readonly userId: string,
  ) {
    const { hostname, port } = new URL(dev.sandboxUrl);
    this.stripe = new Stripe('sk_test_demo', { host: hostname, port, protocol: 'http' });
  }

  async call(method: string, path: string, body?: object): Promise<Response> {
    const headers = {
      authorization: `Bearer ${this.dev.adminApiKey}`,
      'content-type': 'application/json',
      ...(method === 'POST' ? { 'idempotency-key': randomUUID() } : {}),
    };
    return send(method, `${this.dev.url}${path}`, headers, body);
  }

  sandbox(path: string, body: object = {}): Promise<Response> {
    return send(
      'POST',
      `${this.dev.sandboxUrl}/_sandbox${path}`,
      { 'content-type': 'application/json' },
      body,
    );
  }

  consume(credits: number): Promise<Response> {
    return this.call('POST', '/v1/credits/consume', { userId: this.userId, credits });
  }

  billing(action: string, body: object = {}): Promise<Response> {
    return this.call('POST', `/v1/billing/${action}`, { userId: this.userId, ...body });
  }

  /** Buys a plan or a pack on the hosted page. */
  async checkout(offer: { plan: string } | { pack: string }): Promise<void> {
    const { body } = await this.billing('checkout', offer);
    await this.sandbox(`/checkout/${body.sessionId}/complete`);
  }

  /** How the customer's card behaves from now on. */
  async card(outcome: 'succeeds' | 'card_declined'): Promise<void> {
    const { body } = await this.call('GET', `/v1/users/${this.userId}`);
    await this.sandbox(`/customers/${body.stripeCustomerId}/payment`, { outcome });
  }

  /** What the finance team does in the Dashboard: the money of the last payment goes back. */
  async refundLastPayment(): Promise<void> {
    await this.stripe.refunds.create({ charge: await this.lastCharge() });
  }

  /** The cardholder's bank takes the money of the last payment. */
  async disputeLastPayment(): Promise<void> {
    await this.sandbox(`/charges/${await this.lastCharge()}/dispute`);
  }

  async winDispute(): Promise<void> {
    const { data } = await this.stripe.disputes.list({ charge: await this.lastCharge(), limit: 1 });
    await this.sandbox(`/disputes/${data[0]?.id}/close`, { status: 'won' });
  }

  private async lastCharge(): Promise<string> {
    const { body } = await this.call('GET', `/v1/users/${this.userId}`);
    const { data } = await this.stripe.charges.list({ customer: String(body.stripeCustomerId), limit: 10 });
    const paid = data.find((charge) => charge.paid);
    if (!paid) throw new Error('The customer has paid nothing yet.');
    return paid.id;
  }

  async days(days: number): Promise<void> {
    await this.sandbox('/clock/advance', { seconds: Math.round(days * 86_400) });
  }

  async now(): Promise<Date> {
    const response = await fetch(`${this.dev.sandboxUrl}/_sandbox/clock`);
    return new Date(z.object({ now: z.string() }).parse(await response.json()).now);
  }

  async usage(): Promise<Usage> {
    return usageSchema.parse((await this.call('GET', `/v1/users/${this.userId}/usage`)).body);
  }

  /** Waits until the usage is as expected, or returns the last one. */
  async usageOnce(expected: { plan: string; credits: number }): Promise<Usage> {
    for (let waitedMs = 0; ; waitedMs += POLL_MS) {
      const usage = await this.usage();
      const isThere = usage.credits === expected.credits && usage.subscriptionTier === expected.plan;
      if (isThere || waitedMs > PATIENCE_MS) return usage;
      await delay(POLL_MS);
    }
  }

  /** Stripe compared with the ledger. @returns how many differences there are */
  async reconciliation(): Promise<number> {
    const { body } = await this.call('POST', '/v1/finance/reconciliations', {});
    for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += POLL_MS) {
      const answer = await this.call('GET', `/v1/finance/reconciliations/${body.runId}`);
      const { status, counts } = runSchema.parse(answer.body);
      if (status === 'finished') return counts.differences ?? 0;
      if (status === 'failed') throw new Error(`The reconciliation failed: ${answer.body.error}`);
      await delay(POLL_MS);
    }
    throw new Error('The reconciliation did not end.');
  }

  /** @param month yyyy-mm */
  async close(month: string): Promise<Close> {
    return closeSchema.parse((await this.call('GET', `/v1/finance/close/${month}`)).body);
  }

  /** Tokens by type of entry, over the whole ledger. */
  async totals(): Promise<Record<string, number>> {
    const totals: Record<string, number> = {};
    for (let cursor = ''; ; ) {
      const { body } = await this.call('GET', `/v1/users/${this.userId}/ledger?limit=100${cursor}`);
      const page = pageSchema.parse(body);
      for (const { type, tokens } of page.data) totals[type] = (totals[type] ?? 0) + tokens;
      if (page.nextCursor === null) return totals;
      cursor = `&cursor=${page.nextCursor}`;
    }
  }
}

const runSchema = z.object({ status: z.string(), counts: z.record(z.string(), z.number()) });
const closeSchema = z.object({
  currencies: z.array(
    z.object({
      currency: z.string(),
      booked: z.object({ paidMinor: z.number() }),
      deferred: z.object({
        openingMinor: z.number(),
        issuedMinor: z.number(),
        recognisedMinor: z.number(),
        breakageMinor: z.number(),
        voidedMinor: z.number(),
        clawedMinor: z.number(),
        closingMinor: z.number(),
      }),
      differenceMinor: z.number(),
    }),
  ),
  differences: z.array(z.unknown()),
});
export type Close = z.infer<typeof closeSchema>;

async function send(
  method: string,
  url: string,
  headers: Record<string, string>,
  body?: object,
): Promise<Response> {
  const response = await fetch(url, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  return { status: response.status, body: z.record(z.string(), z.unknown()).parse(await response.json()) };
}
