// Every statement of the hot path, of resets and of Stripe's sync names the one bucket whose rows it wants, so that Citus
// sends it to the node that has them (docs/scaling.md). Seen on the statements that the code really sends.
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decideAtDoor } from '../../src/lib/account-door.ts';
import { consume, consumeRequest, consumingOf } from '../../src/lib/credits.ts';
import { verifyLedgers } from '../../src/lib/parking.ts';
import { rollUsers } from '../../src/lib/roll-users.ts';
import { readUsageAt } from '../../src/lib/usage-at.ts';
import { runWorkflow } from '../../src/lib/workflows.ts';
import { findViolationsOf } from '../../src/store/invariants.ts';
import { rebuildUser } from '../../src/store/rebuild.ts';
import { inTransaction } from '../../src/store/transaction.ts';
import { cancelSubscription, resumeSubscription } from '../../src/stripe/billing.ts';
import { changePlan } from '../../src/stripe/plan-change.ts';
import { TEAM_CATALOGUE } from '../stripe/catalogue.ts';
import { request, Service } from '../stripe/harness.ts';
import { distribute } from '../support/citus.ts';
import { startService, type TestService } from '../support/service.ts';
import { type Planned, planOf, statementsOf } from '../support/statements.ts';

let stripe: Service;
let service: TestService;
let client: pg.Client;
let usersTables: ReadonlySet<string>;
beforeAll(async () => {
  // What runs over many users takes those of one bucket only there.
  stripe = await Service.start(TEAM_CATALOGUE, { isDistributed: true });
  service = await startService();
  // Groups and batches are of one bucket there.
  await distribute(service.databaseUrl);
  client = new pg.Client({ connectionString: service.databaseUrl });
  await client.connect();
  const { rows } = await client.query(`select c.relname as name from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'bucket' where c.relkind = 'r'`);
  usersTables = new Set(rows.map(({ name }) => name));
});
afterAll(async () => {
  await client.end();
  await service.close();
  await stripe.stop();
});

/** Statements that want many buckets, and why that is right. */
const EXCEPTIONS: [statement: RegExp, why: string][] = [
  [/^select (bucket|id) from due_(buckets|users)\(/, 'who is due, of all buckets: reads, and locks nothing'],
  [
    /^select id from users where bucket >= \$1 and bucket < \$2/,
    'who has changed: read once an hour, without a lock',
  ],
  [
    / from invariant_i1_owner where created_at >= \$1/,
    'entries of nobody: read once an hour, without a lock',
  ],
];

/** One parameter, compared with the column itself. */
const OF_ONE_BUCKET = /\(bucket = \$\d+\)/;

/** What a statement asks of more than one node, or of a node that nothing names. */
function faultsOf({ text, scans, otherTables, inserts }: Planned): string[] {
  const faults = scans
    .filter(({ conditions }) => !OF_ONE_BUCKET.test(conditions))
    .map(({ table, conditions }) => `reads ${table} where ${conditions || 'anything'}`);
  for (const table of inserts) {
    const isOfOne = new RegExp(
      `insert into "?(public"?\\."?)?${table}"? \\("?bucket"?,[^)]*\\)\\s*(values \\(|select )\\$1,`,
      'i',
    );
    if (!isOfOne.test(text.replaceAll(/\s+/g, ' ')))
      faults.push(`inserts into ${table} without naming the bucket first`);
  }
  // With what it is joined to, the call would go to a worker, where it may ask nothing.
  if (text.includes('ledger_page(') && scans.length > 0) faults.push('joins the page of a ledger');
  const isMixed = otherTables.length > 0 && scans.length + inserts.length > 0;
  return isMixed ? [...faults, `joins ${otherTables.join()}, which are on the coordinator`] : faults;
}

async function judge(work: () => Promise<unknown>): Promise<{ faults: string[]; tables: Set<string> }> {
  const faults: string[] = [];
  const tables = new Set<string>();
  for (const text of await statementsOf(work)) {
    const planned = await planOf(client, text, usersTables);
    for (const table of [...planned.scans.map((scan) => scan.table), ...planned.inserts]) tables.add(table);
    if (EXCEPTIONS.some(([statement]) => statement.test(text))) continue;
    for (const fault of faultsOf(planned)) faults.push(`${fault}: ${text}`);
  }
  return { faults, tables };
}

describe('every statement names one bucket', () => {
  it('of consumes, holds, refunds, grants, plans, the routes of the seed, and reading', async () => {
    const { faults, tables } = await judge(async () => {
      const { keys, call } = service;
      const as = keys.backend;
      const admin = keys.admin;
      const userId = 'bucket-user';
      const ok = async (...input: Parameters<typeof call>) => {
        const answer = await call(...input);
        expect(answer.status, answer.text).toBeLessThan(300);
        return answer.body;
      };
      await ok('POST', '/v1/users', { as, body: { userId, email: 'person@example.com', name: 'Person' } });
      const taken = await ok('POST', '/v1/credits/consume', { as, body: { userId, credits: 1 } });
      await ok('POST', '/v1/credits/consume/batch', {
        as,
        body: { items: [{ userId, tokens: 10, key: 'one' }] },
      });
      const input = { userId, tokens: 5 };
      const consuming = consumingOf(service.context, input, request('alone'));
      await decideAtDoor(service.context, consumeRequest(service.context, userId, consuming));
      await ok('POST', '/v1/credits/check', { as, body: { userId, credits: 1 } });
      await ok('POST', '/v1/credits/refund', { as, body: { entryId: taken.entryId, reason: 'test' } });
      const hold = () => ok('POST', '/v1/credits/holds', { as, body: { userId, tokens: 100 } });
      await ok('POST', `/v1/credits/holds/${(await hold()).holdId}/capture`, { as, body: { tokens: 60 } });
      const { holdId } = await hold();
      for (let n = 0; n < 2; n++) await ok('POST', `/v1/credits/holds/${holdId}/release`, { as, body: {} });
      const tomorrow = new Date(service.clock.now().getTime() + 86_400_000).toISOString();
      await ok('POST', `/v1/users/${userId}/grants`, {
        as: admin,
        body: { tokens: 5, source: 'bonus', expiresAt: tomorrow, reason: 'is used up and closed' },
      });
      const last = await ok('POST', '/v1/credits/consume', { as, body: { userId, tokens: 5 } });
      await ok('POST', '/v1/credits/refund', { as, body: { entryId: last.entryId, reason: 'test' } });
      const grant = { tokens: 50_000, source: 'bonus', reason: 'test' };
      const granted = await ok('POST', `/v1/users/${userId}/grants`, { as: admin, body: grant });
      await ok('POST', '/v1/credits/consume', { as, body: { userId, tokens: 20_000 } });
      await ok('POST', `/v1/users/${userId}/grants/${granted.grantId}/void`, {
        as: admin,
        body: { reason: 'test' },
      });
      await ok('POST', `/v1/users/${userId}/plan`, {
        as: admin,
        body: { plan: 'pro', periodDays: 30 },
      });
      for (const path of ['', '/usage', '/ledger', '/grants', '/subscription']) {
        await ok('GET', `/v1/users/${userId}${path}`, { as });
      }
      await ok('GET', `/v1/users/${userId}/ledger/${taken.entryId}`, { as });
      await readUsageAt(service.context, userId, service.clock.now());
      const ofUser = { as: await service.token(userId) };
      await ok('GET', '/api/user/usage', ofUser);
      const work = await ok('POST', '/api/projects/start-workflow', {
        ...ofUser,
        body: { projectId: 'abc' },
      });
      await runWorkflow(service.context, work.workflowId, { isLast: true }).catch(() => undefined);
      await ok('GET', `/api/workflows/${work.workflowId}`, ofUser);
      await ok('DELETE', `/v1/users/${userId}/profile`, { as: admin });
    });
    expect(faults).toEqual([]);
    expect([...tables].sort()).toEqual([...usersTables].filter((table) => table !== 'paid_lines').sort());
  });

  it('of resets, by the clock and by whoever comes first', async () => {
    const due = await stripe.subscriber('pro', 'year');
    const lapsed = await stripe.signUp();
    await stripe.advance(40);
    const { faults } = await judge(async () => {
      await consume(stripe.context, { userId: lapsed, tokens: 1 }, request('first'));
      await rollUsers(stripe.context, 'due');
      await rollUsers(stripe.context, 'lapsed');
      await stripe.usage(due);
    });
    expect(faults).toEqual([]);
  });

  it("of Stripe's events, and of what a user does with a subscription", async () => {
    const { faults, tables } = await judge(async () => {
      const userId = await stripe.subscriber();
      await stripe.buy(userId, { pack: 'pack_50' });
      await stripe.settle();
      const { context } = stripe;
      await changePlan(context, { userId, plan: 'team' }, request('change'));
      await stripe.settle();
      await cancelSubscription(context, { userId, effective: 'period_end' }, request('cancel'));
      await stripe.settle();
      await resumeSubscription(context, { userId }, request('resume'));
      await stripe.advance(32);
      await stripe.settle();
    });
    expect(faults).toEqual([]);
    expect(tables).toContain('paid_lines');
    expect(tables).toContain('subscriptions');
  });

  it('of the check of a ledger, and of the repair of its sums', async () => {
    const { pool, clock } = stripe.context;
    const userId = await stripe.signUp();
    const { faults, tables } = await judge(async () => {
      await verifyLedgers(stripe.context);
      await findViolationsOf(pool, userId);
      await inTransaction(pool, (tx) => rebuildUser(tx, userId, () => null, clock.now()));
    });
    expect(faults).toEqual([]);
    expect(tables).toContain('holds');
  });
});
