/**
 * Compares Stripe with us: what Stripe lists against our facts, our facts that Stripe has not listed, and every ledger
 * against what its facts make of it. Nothing is changed; docs/finance.md says what each difference means.
 */
import type { Context } from '../context.ts';
import type { Difference } from '../domain/differences.ts';
import { notFound } from '../errors.ts';
import { withAdvisoryLock } from '../store/advisory-lock.ts';
import { listCustomersOf } from '../store/books.ts';
import {
  addDifferences,
  beginRun,
  countDifferences,
  deleteMarks,
  dropDifferencesOf,
  endRun,
  findRun,
  insertRun,
  listLostRuns,
  listUsersWithDifferences,
  type Run,
} from '../store/reconciliations.ts';
import { inTransaction } from '../store/transaction.ts';
import { findUser } from '../store/users.ts';
import { openBulkReader } from '../stripe/bulk.ts';
import { compareAccounts } from './accounts.ts';
import { type Check, storedFindings, userFindings } from './findings.ts';
import { comparePayments } from './payments.ts';
import { askedMoney, collectedMoney, collectReturned, type MoneyOf } from './returned.ts';
import { findExtraLines } from './strangers.ts';
import { compareSubscriptions, findExtraSubscriptions } from './subscriptions.ts';

const LOST_AFTER_MS = 60_000;
/** More users than this with differences are no race with their events: they are not looked at twice. */
const SECOND_LOOK_USERS = 1_000;

export interface Scope {
  userId?: string | undefined;
  since?: Date | undefined;
}

/**
 * Asks for a run, which a worker does.
 * @throws TollgateError `not_found` for an unknown user
 */
export async function startReconciliation(context: Context, scope: Scope): Promise<{ runId: string }> {
  const { runId } = await insertReconciliation(context, scope);
  context.jobs.wake({ name: 'run-reconciliation', runId });
  return { runId };
}

/** The same without its job, for who runs it here and now. */
export async function insertReconciliation(
  context: Context,
  { userId, since }: Scope,
): Promise<{ runId: string }> {
  if (userId !== undefined && !(await findUser(context.pool, userId))) throw notFound('user');
  const scope = { userId: userId ?? null, since: since ?? null };
  return { runId: await insertRun(context.pool, scope, context.clock.now()) };
}

/** Wakes runs whose job was lost between commit and queue. */
export async function sweepReconciliations({ pool, clock, jobs }: Context): Promise<void> {
  const before = new Date(clock.now().getTime() - LOST_AFTER_MS);
  for (const runId of await listLostRuns(pool, before)) jobs.wake({ name: 'run-reconciliation', runId });
}

/** Does a run from its start, unless it has ended; one process at a time. */
export async function runReconciliation(context: Context, runId: string): Promise<void> {
  const { pool, log } = context;
  const run = await findRun(pool, runId);
  if (!run) {
    log.warn({ runId }, 'A job points at a reconciliation that is not there');
    return;
  }
  await withAdvisoryLock(pool, `tollgate:reconciliation:${runId}`, async () => {
    if (!(await inTransaction(pool, (tx) => beginRun(tx, runId, context.clock.now())))) return;
    try {
      const counts = await compare(context, run);
      await end(context, runId, { status: 'finished', counts, error: null });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      await end(context, runId, { status: 'failed', counts: {}, error: text });
      throw error;
    }
  });
}

async function end(
  { pool, clock, log }: Context,
  runId: string,
  result: { status: 'finished' | 'failed'; counts: Record<string, number>; error: string | null },
): Promise<void> {
  await deleteMarks(pool, runId);
  const found = await countDifferences(pool, runId);
  const differences = Object.values(found).reduce((sum, count) => sum + count, 0);
  const counts = { ...result.counts, differences, ...found };
  await endRun(pool, runId, { ...result, counts, now: clock.now() });
  if (differences > 0) {
    const text = 'Stripe and the ledger differ: look at the differences of the run';
    log.error({ alert: 'reconciliation_differences', runId, found }, text);
  }
}

async function compare(context: Context, run: Run): Promise<Record<string, number>> {
  if (run.userId !== null) {
    const { differences, counts } = await compareUser(context, run.userId, run.since);
    await addDifferences(context.pool, run.id, differences, context.clock.now());
    return counts;
  }
  const { reader, now, ...common } = commonsOf(context);
  const findings = storedFindings(context, run.id, now);
  const check: Check = { ...common, reader, now, findings, user: null, since: run.since };
  const returned = await collectReturned(context.pool, run.id, reader, run.since);
  const counts = await compareSides(check, collectedMoney(context.pool, run.id));
  await lookAgain(context, run);
  return { ...counts, returned };
}

function commonsOf(context: Context): Pick<Check, 'context' | 'reader' | 'now'> {
  const quiet = { ...context, log: context.log.child({}, { level: 'silent' }) };
  return { context: quiet, reader: openBulkReader(context), now: context.clock.now() };
}

async function compareSides(check: Check, moneyOf: MoneyOf): Promise<Record<string, number>> {
  const subscriptions = await compareSubscriptions(check);
  const payments = await comparePayments(check, moneyOf);
  const ourSubscriptions = await findExtraSubscriptions(check);
  const ourLines = await findExtraLines(check);
  const users = await compareAccounts(check);
  return { subscriptions, payments, ourSubscriptions, ourLines, users };
}

/** One user, now, from Stripe's customers of that user. */
export async function compareUser(
  context: Context,
  userId: string,
  since: Date | null = null,
): Promise<{ differences: Difference[]; counts: Record<string, number> }> {
  const findings = userFindings();
  const user = { id: userId, customerIds: await listCustomersOf(context.pool, userId) };
  const check: Check = { ...commonsOf(context), findings, user, since };
  const counts = await compareSides(check, askedMoney(check.reader));
  return { differences: findings.all(), counts };
}

/**
 * Between the reading of a page and that of our rows an event may have been handled. Every user that seems to differ is
 * read once more, and only what is still there counts.
 */
async function lookAgain(context: Context, run: Run): Promise<void> {
  const { pool, clock } = context;
  const users = await listUsersWithDifferences(pool, run.id, SECOND_LOOK_USERS + 1);
  if (users.length > SECOND_LOOK_USERS) return;
  for (const userId of users) {
    if ((await listCustomersOf(pool, userId)).length === 0) continue;
    const { differences } = await compareUser(context, userId, run.since);
    await inTransaction(pool, async (tx) => {
      await dropDifferencesOf(tx, run.id, userId);
      await addDifferences(tx, run.id, differences, clock.now());
    });
  }
}
