/** `npm run demo`: one subscriber's year against the Stripe sandbox, checked at every step. Exit 1 if one is wrong. */
import { mkdtempSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { addMonths } from '../src/domain/period.ts';
import { startLocal } from '../src/local.ts';
import { findViolations } from '../src/store/invariants.ts';
import { Client, type Usage } from './client.ts';

interface Step {
  what: string;
  run(client: Client): Promise<unknown>;
  plan: 'free' | 'pro';
  /** What is there to spend afterwards. */
  credits: number;
}

const consumed = (credits: number) => async (client: Client) => {
  const { status, body } = await client.consume(credits);
  if (status !== 200) throw new Error(`consume answered ${status}: ${body.detail}`);
};

const denied = async (client: Client) => {
  const { status, body } = await client.consume(1);
  if (status !== 402 || body.code !== 'insufficient_credits') throw new Error(`expected 402, got ${status}`);
};

/** A month and a bit more than the hour that Stripe takes from a draft invoice to its payment. */
const MONTH = 31.1;

const YEAR: Step[] = [
  {
    what: 'signs up',
    run: (c) => c.call('POST', '/v1/users', { userId: c.userId }),
    plan: 'free',
    credits: 5,
  },
  { what: 'uses the 5 free credits', run: consumed(5), plan: 'free', credits: 0 },
  { what: 'asks for one more: 402', run: denied, plan: 'free', credits: 0 },
  { what: 'upgrades through Checkout', run: (c) => c.checkout({ plan: 'pro' }), plan: 'pro', credits: 100 },
  { what: 'uses 30', run: consumed(30), plan: 'pro', credits: 70 },
  { what: 'is renewed; the old 70 expire', run: (c) => c.days(MONTH), plan: 'pro', credits: 100 },
  { what: 'uses 10', run: consumed(10), plan: 'pro', credits: 90 },
  {
    what: 'renewal fails: grace, old credits kept',
    run: async (c) => {
      await c.card('card_declined');
      await c.days(MONTH);
    },
    plan: 'pro',
    credits: 90,
  },
  {
    what: "card works again: Stripe's retry pays",
    run: async (c) => {
      await c.card('succeeds');
      await c.days(3.1);
    },
    plan: 'pro',
    credits: 100,
  },
  { what: 'buys a pack of 50', run: (c) => c.checkout({ pack: 'pack_50' }), plan: 'pro', credits: 150 },
  { what: 'uses 120: the allowance burns first', run: consumed(120), plan: 'pro', credits: 30 },
  {
    what: 'the pack is refunded: 30 go back, 20 are owed',
    run: (c) => c.refundLastPayment(),
    plan: 'pro',
    credits: 0,
  },
  {
    what: 'buys another pack: the debt is settled first',
    run: (c) => c.checkout({ pack: 'pack_50' }),
    plan: 'pro',
    credits: 30,
  },
  {
    what: 'downgrades to free at period end',
    run: (c) => c.billing('change', { plan: 'free' }),
    plan: 'pro',
    credits: 30,
  },
  { what: 'changes their mind', run: (c) => c.billing('resume'), plan: 'pro', credits: 30 },
  { what: 'is renewed; the pack stays', run: (c) => c.days(MONTH - 3), plan: 'pro', credits: 130 },
  { what: 'uses 25', run: consumed(25), plan: 'pro', credits: 105 },
  {
    what: 'their bank disputes the payment: 75 are out',
    run: (c) => c.disputeLastPayment(),
    plan: 'pro',
    credits: 30,
  },
  { what: 'the dispute is won: exactly 75 are back', run: (c) => c.winDispute(), plan: 'pro', credits: 105 },
  {
    what: 'renewal fails and grace runs out: free',
    run: async (c) => {
      await c.card('card_declined');
      await c.days(MONTH + 7.1);
    },
    plan: 'free',
    credits: 35,
  },
  { what: 'Stripe gives up and ends the subscription', run: (c) => c.days(9), plan: 'free', credits: 35 },
  {
    what: 'subscribes again',
    run: async (c) => {
      await c.card('succeeds');
      await c.checkout({ plan: 'pro' });
    },
    plan: 'pro',
    credits: 130,
  },
  { what: 'uses 40', run: consumed(40), plan: 'pro', credits: 90 },
  {
    what: 'cancels at once: the allowance is void',
    run: (c) => c.billing('cancel', { effective: 'now' }),
    plan: 'free',
    credits: 30,
  },
  { what: 'next month: 5 free credits again', run: (c) => c.days(MONTH), plan: 'free', credits: 35 },
  { what: 'uses 33', run: consumed(33), plan: 'free', credits: 2 },
];

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const row = (cells: string[]): string =>
  [
    cells[0]?.padEnd(12),
    cells[1]?.padEnd(46),
    cells[2]?.padEnd(6),
    cells[3]?.padStart(8),
    cells[4]?.padStart(10),
    cells[5],
  ].join(' ');

/** @returns whether the step ended as it says */
async function play(client: Client, step: Step): Promise<boolean> {
  let failure = '';
  try {
    await step.run(client);
  } catch (error) {
    failure = String(error);
  }
  const usage: Usage = await client.usageOnce(step);
  const isRight = failure === '' && usage.credits === step.credits && usage.subscriptionTier === step.plan;
  const verdict = isRight ? 'ok' : `WRONG: expected ${step.plan} with ${step.credits}. ${failure}`;
  const date = (await client.now()).toISOString().slice(0, 10);
  say(
    row([
      date,
      step.what,
      usage.subscriptionTier,
      String(usage.credits),
      String(usage.availableTokens),
      verdict,
    ]),
  );
  return isRight;
}

/** The ledger in itself, the ledger against Stripe, and each finance month: all of them to zero. */
async function reconcile(
  client: Client,
  pool: Parameters<typeof findViolations>[0],
  start: Date,
): Promise<boolean> {
  const totals = await client.totals();
  const usage = await client.usage();
  const balance = Object.values(totals).reduce((sum, tokens) => sum + tokens, 0);
  const violations = await findViolations(pool);
  say('\nThe ledger in tokens:');
  for (const [type, tokens] of Object.entries(totals))
    say(`  ${type.padEnd(10)} ${String(tokens).padStart(10)}`);
  say(`  ${'balance'.padEnd(10)} ${String(balance).padStart(10)}   spendable ${usage.availableTokens}`);
  say(`Differences: ${balance - usage.availableTokens}. Invariants violated: ${violations.length}.`);
  for (const violation of violations) say(`  ${violation.invariant}: ${violation.detail}`);
  const closesAtZero = await closeMonths(client, start);
  const differences = await client.reconciliation();
  say(`\nReconciliation with Stripe: ${differences} differences.`);
  return balance === usage.availableTokens && violations.length === 0 && closesAtZero && differences === 0;
}

/** Each month ties by itself; shown is the whole of them, which does not depend on the day of the demo. */
async function closeMonths(client: Client, start: Date): Promise<boolean> {
  const end = await client.now();
  const total = { paid: 0, issued: 0, used: 0, expired: 0, voided: 0, 'paid back': 0, 'still owed': 0 };
  let differences = 0;
  for (let month = start; month <= end; month = addMonths(month, 1)) {
    const close = await client.close(month.toISOString().slice(0, 7));
    differences += close.differences.length;
    for (const { booked, deferred, differenceMinor } of close.currencies) {
      total.paid += booked.paidMinor;
      total.issued += deferred.issuedMinor;
      total.used += deferred.recognisedMinor;
      total.expired += deferred.breakageMinor;
      total.voided += deferred.voidedMinor;
      total['paid back'] += deferred.clawedMinor;
      total['still owed'] = deferred.closingMinor;
      if (differenceMinor !== 0) differences += 1;
    }
  }
  say('\nThe finance months together, in USD:');
  for (const [name, minor] of Object.entries(total))
    say(`  ${name.padEnd(10)} ${(minor / 100).toFixed(2).padStart(10)}`);
  say(`Differences: ${differences}.`);
  return differences === 0;
}

const home = mkdtempSync(join(tmpdir(), 'tollgate-demo-'));
// mkdtemp makes it 0700; under root PostgreSQL runs as a user of its own and has to enter.
await chmod(home, 0o711);
const local = await startLocal({
  environment: { PORT: 0, SANDBOX_PORT: 0 },
  home,
  say: () => {},
  log: pino({ level: 'error' }),
});
try {
  const { sandboxUrl } = local.dev;
  if (sandboxUrl === null) throw new Error('The demo needs the sandbox.');
  const client = new Client({ ...local.dev, sandboxUrl }, 'ada');
  say(`\n${row(['date', 'ada', 'plan', 'credits', 'tokens', ''])}`);
  const start = new Date(`${(await client.now()).toISOString().slice(0, 7)}-01T00:00:00.000Z`);
  let right = true;
  for (const step of YEAR) right = (await play(client, step)) && right;
  right = (await reconcile(client, local.context.pool, start)) && right;
  say(right ? '\nEvery step was as stated.' : '\nAt least one step was WRONG.');
  process.exitCode = right ? 0 : 1;
} finally {
  await local.stop();
  rmSync(home, { recursive: true, force: true });
}
