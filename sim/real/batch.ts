/**
 * Many customers of one sandbox, heard of by two services at once: one is told everything in order, the other as badly
 * as it may. Both must end alike.
 */
import { createServer } from 'node:net';
import { consume } from '../../src/lib/credits.ts';
import { accountOptions, libraryRequest } from '../../src/lib/requests.ts';
import { signUp } from '../../src/lib/users.ts';
import { sandboxPrices } from '../../src/local.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/index.ts';
import { withAccount } from '../../src/store/account.ts';
import { loadFacts } from '../../src/store/account-roll.ts';
import { ensureCustomer } from '../../src/stripe/customers.ts';
import { CATALOGUE } from '../catalogue.ts';
import { differences, type Outcome, outcomeOf } from '../compare.ts';
import { Random } from '../random.ts';
import { type Control, Customer, Refused } from './customer.ts';
import { Receiver, WEBHOOK_SECRET } from './receiver.ts';

const LANES = 8;
const DAY_SECONDS = 86_400;

export interface BatchOptions {
  /** Two migrated, empty databases. */
  databaseUrls: readonly [string, string];
  users: number;
  seed: number;
}

export interface BatchResult {
  users: number;
  events: number;
  failedAttempts: number;
  faults: string[];
}

export async function realBatch(options: BatchOptions): Promise<BatchResult> {
  const port = await freePort();
  const sandbox = await startSandbox({
    port: 0,
    prices: sandboxPrices(CATALOGUE),
    webhookEndpoints: [{ url: `http://127.0.0.1:${port}/webhooks/stripe`, secret: WEBHOOK_SECRET }],
  });
  const [inOrder, inChaos] = await Promise.all(
    options.databaseUrls.map((databaseUrl, index) =>
      Receiver.start({
        databaseUrl,
        stripeUrl: sandbox.url,
        clock: sandbox,
        lanes: index === 0 ? 1 : LANES,
        port: index === 0 ? 0 : port,
      }),
    ),
  );
  if (!inOrder || !inChaos) throw new Error('There are two services.');
  const batch = new Batch(options, sandbox, inOrder, inChaos);
  try {
    return await batch.run();
  } finally {
    await Promise.all([inOrder.stop(), inChaos.stop()]);
    await sandbox.close();
  }
}

class Batch {
  private readonly random: Random;
  private readonly customers: Customer[] = [];
  private readonly faults: string[] = [];
  private readonly heard = new Set<string>();
  private heardUntil = 0;

  constructor(
    private readonly options: BatchOptions,
    private readonly sandbox: Sandbox,
    private readonly inOrder: Receiver,
    private readonly inChaos: Receiver,
  ) {
    this.random = new Random(options.seed);
  }

  private readonly control: Control = async (path, body = {}) => {
    const response = await fetch(`${this.sandbox.url}/_sandbox${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    if (!response.ok) throw new Refused(`${path}: ${JSON.stringify(answer)}`);
    return answer;
  };

  async run(): Promise<BatchResult> {
    await this.begin();
    // Two to fourteen months.
    const wanted = this.random.int(60, 420);
    for (let days = 0; days < wanted; ) {
      await inLanes(this.customers, (customer) => this.maybeAct(customer));
      const step = this.random.chance(0.3) ? this.random.int(1, 60) / 1440 : this.random.int(1, 20);
      days += step;
      await this.control('/clock/advance', { seconds: Math.round(step * DAY_SECONDS) });
      await this.hear();
    }
    await this.rest();
    await this.compare('at rest');
    if (this.faults.length === 0) await this.aftermath();
    const { failedAttempts } = this.inChaos;
    return { users: this.customers.length, events: this.heard.size, failedAttempts, faults: this.faults };
  }

  private async begin(): Promise<void> {
    const { seed, users } = this.options;
    const dunningEnd = this.random.pick(['canceled', 'past_due', 'unpaid', 'paused']);
    await this.control('/billing', { afterFinalRetry: dunningEnd });
    await this.control('/delivery', {
      seed,
      shuffle: true,
      duplicateRate: 0.6,
      dropRate: 0.3,
      staleRate: 0.3,
    });
    const { data } = await this.inOrder.context.stripe.prices.list({ limit: 100 });
    const prices = new Map(data.map(({ id, lookup_key: key }) => [key ?? '', id]));
    const mayBuyYears = dunningEnd === 'canceled' || dunningEnd === 'past_due';
    const clock = { now: () => at };
    const at = this.sandbox.now();
    for (let index = 0; index < users; index++) {
      const userId = `user_${seed}_${index}`;
      for (const { context } of [this.inOrder, this.inChaos]) await signUp({ ...context, clock }, { userId });
      const { context } = this.inOrder;
      const id = await ensureCustomer(context, userId);
      const card = await context.stripe.paymentMethods.attach('pm_card_visa', { customer: id });
      await context.stripe.customers.update(id, {
        invoice_settings: { default_payment_method: card.id },
      });
      const random = new Random(seed * 1_000 + index);
      this.customers.push(
        new Customer(userId, id, random, context.stripe, this.control, prices, mayBuyYears),
      );
    }
    await this.inChaos.heal();
  }

  /** About ten things in a history. */
  private async maybeAct(customer: Customer): Promise<void> {
    if (customer.random.chance(0.3)) await customer.act();
  }

  /** What happened since: to one service in order, one by one; to the other as it came, with an API that fails. */
  private async hear(): Promise<void> {
    await this.tellInOrder();
    await this.control('/delivery/settle');
    await this.control('/faults', {
      seed: this.options.seed,
      latencyMs: 2,
      errorRate: 0.04,
      resetAfterCommitRate: 0.02,
    });
    await this.inChaos.work();
    await this.control('/faults', { latencyMs: 0, errorRate: 0, resetAfterCommitRate: 0 });
    // Stripe lists 30 days: no stretch between two backfills is longer (as in docs/operations.md it is minutes).
    await this.inChaos.heal();
    for (const receiver of [this.inOrder, this.inChaos]) {
      const found = await receiver.violations();
      if (found.length > 0) this.faults.push(`invariants: ${JSON.stringify(found.slice(0, 3))}`);
    }
  }

  private async tellInOrder(): Promise<void> {
    const { stripe } = this.inOrder.context;
    const fresh = [];
    for await (const event of stripe.events.list({ created: { gte: this.heardUntil }, limit: 100 })) {
      if (!this.heard.has(event.id)) fresh.push(event);
    }
    for (const event of fresh.reverse()) {
      this.heard.add(event.id);
      this.heardUntil = Math.max(this.heardUntil, event.created);
      await this.inOrder.post(event);
      await this.inOrder.work();
    }
  }

  /** What was lost is backfilled, and what failed is tried again, until nothing is left. */
  private async rest(): Promise<void> {
    for (let round = 0; round < 12; round++) {
      const due = await this.inChaos.heal();
      if (due === 0) break;
      await this.control('/clock/advance', { seconds: 3_600 });
      await this.hear();
    }
  }

  /** Half of everything is spent, then money goes back: debt. */
  private async aftermath(): Promise<void> {
    const outcomes = await this.outcomes();
    for (const [userId, { inOrder }] of outcomes) {
      const tokens = Math.floor(Number(inOrder.available) / 2);
      if (tokens === 0) continue;
      for (const { context } of [this.inOrder, this.inChaos])
        await consume(context, { userId, tokens }, libraryRequest('sim', 'half', 'half'));
    }
    await inLanes(this.customers, async (customer) => {
      await customer.refund(customer.random).catch(() => false);
    });
    await this.hear();
    await this.rest();
    await this.compare('in debt');
  }

  private async compare(when: string): Promise<void> {
    for (const [userId, { inOrder, inChaos }] of await this.outcomes()) {
      const found = differences(inOrder, inChaos);
      this.faults.push(...found.map((difference) => `${when}, ${userId}: ${difference}`));
    }
  }

  private async outcomes(): Promise<Map<string, { inOrder: Outcome; inChaos: Outcome }>> {
    const now = this.sandbox.now();
    const all = new Map<string, { inOrder: Outcome; inChaos: Outcome }>();
    const read = ({ context }: Receiver, userId: string): Promise<Outcome> =>
      withAccount(accountOptions({ ...context, clock: { now: () => now } }), userId, async (account, tx) =>
        outcomeOf({ account, facts: await loadFacts(tx, account) }, false),
      );
    for (const { userId } of this.customers) {
      const [inOrder, inChaos] = [await read(this.inOrder, userId), await read(this.inChaos, userId)];
      all.set(userId, { inOrder, inChaos });
    }
    return all;
  }
}

async function inLanes<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const lane = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

/** Which somebody else may take meanwhile; then the batch fails at once and not silently. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
