/** Runs of the reconciliation, what they found, and what they have met in Stripe so far. */
import type { Difference, DifferenceKind } from '../domain/differences.ts';
import { ReconciliationStatus, RepairState } from '../generated/prisma/enums.ts';
import type { Queryable } from './database.ts';
import { newId } from './ids.ts';

export { ReconciliationStatus, RepairState };

export interface Run {
  id: string;
  status: ReconciliationStatus;
  userId: string | null;
  since: Date | null;
  counts: Record<string, number>;
  error: string | null;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
}

const RUN_SELECT = `select id, status, user_id as "userId", since, counts, error, created_at as "createdAt",
  started_at as "startedAt", finished_at as "finishedAt" from reconciliation_runs`;

export async function insertRun(
  db: Queryable,
  { userId, since }: Pick<Run, 'userId' | 'since'>,
  now: Date,
): Promise<string> {
  const id = newId('recon');
  await db.query(`insert into reconciliation_runs (id, user_id, since, created_at) values ($1, $2, $3, $4)`, [
    id,
    userId,
    since,
    now,
  ]);
  return id;
}

export async function findRun(db: Queryable, id: string): Promise<Run | undefined> {
  const { rows } = await db.query<Run>(`${RUN_SELECT} where id = $1`, [id]);
  return rows[0];
}

/** Newest first, from below `before` (a run id). */
export async function listRuns(db: Queryable, before: string | null, limit: number): Promise<Run[]> {
  const { rows } = await db.query<Run>(
    `${RUN_SELECT} where ($1::text is null or id < $1) order by id desc limit $2`,
    [before, limit],
  );
  return rows;
}

/** Runs that wait although they were asked for before `before`: their job may have been lost. */
export async function listLostRuns(db: Queryable, before: Date): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from reconciliation_runs where status = 'pending' and created_at < $1 order by id limit 10`,
    [before],
  );
  return rows.map(({ id }) => id);
}

/** Begins a run from its start, whatever a process that died has left of it. @returns false where it has ended */
export async function beginRun(tx: Queryable, id: string, now: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update reconciliation_runs set status = 'running', started_at = $2 where id = $1 and status in ('pending', 'running')`,
    [id, now],
  );
  if (rowCount !== 1) return false;
  await tx.query(`delete from reconciliation_differences where run_id = $1`, [id]);
  await deleteMarks(tx, id);
  return true;
}

export async function endRun(
  db: Queryable,
  id: string,
  end: { status: 'finished' | 'failed'; counts: Record<string, number>; error: string | null; now: Date },
): Promise<void> {
  await db.query(
    `update reconciliation_runs set status = $2, counts = $3, error = $4, finished_at = $5 where id = $1`,
    [id, end.status, JSON.stringify(end.counts), end.error, end.now],
  );
}

export interface StoredDifference extends Difference {
  id: string;
  runId: string;
  repair: RepairState;
  repairedAt: Date | null;
  outcome: string | null;
  error: string | null;
  createdAt: Date;
}

const DIFFERENCE_SELECT = `select id, run_id as "runId", kind, subject_id as "subjectId", user_id as "userId",
  subscription_id as "subscriptionId", payment_id as "paymentId", grant_id as "grantId", stripe_side as "stripeSide",
  our_side as "ourSide", money_minor as "moneyMinor", currency, tokens, repair, repaired_at as "repairedAt", outcome,
  error, created_at as "createdAt" from reconciliation_differences`;

/** The same kind and subject again adds its money to the first. */
export async function addDifferences(
  db: Queryable,
  runId: string,
  found: readonly Difference[],
  now: Date,
): Promise<void> {
  if (found.length === 0) return;
  const rows = found.map((one) => ({ ...one, id: newId('diff') }));
  await db.query(
    `insert into reconciliation_differences (id, run_id, kind, subject_id, user_id, subscription_id, payment_id, grant_id,
       stripe_side, our_side, money_minor, currency, tokens, created_at)
     select r.id, $1, r.kind, r."subjectId", r."userId", r."subscriptionId", r."paymentId", r."grantId",
       coalesce(r."stripeSide", 'null'), coalesce(r."ourSide", 'null'), r."moneyMinor", r.currency, r.tokens, $3
     from jsonb_to_recordset($2::jsonb) as r(id text, kind text, "subjectId" text, "userId" text, "subscriptionId" text,
       "paymentId" text, "grantId" text, "stripeSide" jsonb, "ourSide" jsonb, "moneyMinor" bigint, currency text,
       tokens bigint)
     on conflict (run_id, kind, subject_id) do update set
       money_minor = coalesce(reconciliation_differences.money_minor, 0) + excluded.money_minor,
       currency = coalesce(reconciliation_differences.currency, excluded.currency)`,
    [runId, JSON.stringify(rows), now],
  );
}

export async function dropDifference(
  db: Queryable,
  runId: string,
  { kind, subjectId }: Pick<Difference, 'kind' | 'subjectId'>,
): Promise<void> {
  await db.query(
    `delete from reconciliation_differences where run_id = $1 and kind = $2 and subject_id = $3`,
    [runId, kind, subjectId],
  );
}

export async function dropDifferencesOf(db: Queryable, runId: string, userId: string): Promise<void> {
  await db.query(`delete from reconciliation_differences where run_id = $1 and user_id = $2`, [
    runId,
    userId,
  ]);
}

/** Oldest first, from above `after` (a difference id). */
export async function listDifferences(
  db: Queryable,
  runId: string,
  after: string | null,
  limit: number,
): Promise<StoredDifference[]> {
  const { rows } = await db.query<StoredDifference>(
    `${DIFFERENCE_SELECT} where run_id = $1 and ($2::text is null or id > $2) order by id limit $3`,
    [runId, after, limit],
  );
  return rows;
}

export async function findDifference(
  db: Queryable,
  runId: string,
  id: string,
): Promise<StoredDifference | undefined> {
  const { rows } = await db.query<StoredDifference>(`${DIFFERENCE_SELECT} where run_id = $1 and id = $2`, [
    runId,
    id,
  ]);
  return rows[0];
}

export async function noteRepair(
  db: Queryable,
  id: string,
  end: { repair: RepairState; outcome: string | null; error: string | null; repairedAt: Date | null },
): Promise<void> {
  await db.query(
    `update reconciliation_differences set repair = $2, outcome = $3, error = $4, repaired_at = $5 where id = $1`,
    [id, end.repair, end.outcome, end.error, end.repairedAt],
  );
}

/** Users of whom the run has found something. */
export async function listUsersWithDifferences(
  db: Queryable,
  runId: string,
  limit: number,
): Promise<string[]> {
  const { rows } = await db.query<{ userId: string }>(
    `select distinct user_id as "userId" from reconciliation_differences where run_id = $1 and user_id is not null
     order by 1 limit $2`,
    [runId, limit],
  );
  return rows.map(({ userId }) => userId);
}

/** Which of these users the run has found one of `kinds` of. */
export async function findUsersWithKinds(
  db: Queryable,
  runId: string,
  userIds: readonly string[],
  kinds: readonly DifferenceKind[],
): Promise<Set<string>> {
  const { rows } = await db.query<{ userId: string }>(
    `select distinct user_id as "userId" from reconciliation_differences
     where run_id = $1 and user_id = any($2) and kind = any($3)`,
    [runId, userIds, kinds],
  );
  return new Set(rows.map(({ userId }) => userId));
}

export async function countDifferences(db: Queryable, runId: string): Promise<Record<string, number>> {
  const { rows } = await db.query<{ kind: string; count: number }>(
    `select kind, count(*) as count from reconciliation_differences where run_id = $1 group by kind order by kind`,
    [runId],
  );
  return Object.fromEntries(rows.map(({ kind, count }) => [kind, count]));
}

/** `seen` in Stripe; or money that went back, by payment intent, charge or invoice. */
export type MarkKind = 'seen' | 'refunded' | 'disputed' | 'credited';
export interface Mark {
  kind: MarkKind;
  subjectId: string;
  minor: number;
}

/** Marks of one subject and kind add up. */
export async function addMarks(db: Queryable, runId: string, marks: readonly Mark[]): Promise<void> {
  if (marks.length === 0) return;
  await db.query(
    `insert into reconciliation_marks (run_id, kind, subject_id, minor)
     select $1, kind, "subjectId", sum(minor) from jsonb_to_recordset($2::jsonb) as r(kind text, "subjectId" text, minor bigint)
     group by kind, "subjectId"
     on conflict (run_id, subject_id, kind) do update set minor = reconciliation_marks.minor + excluded.minor`,
    [runId, JSON.stringify(marks)],
  );
}

export async function findMarks(
  db: Queryable,
  runId: string,
  subjectIds: readonly string[],
): Promise<Mark[]> {
  const { rows } = await db.query<Mark>(
    `select kind, subject_id as "subjectId", minor from reconciliation_marks where run_id = $1 and subject_id = any($2)`,
    [runId, subjectIds],
  );
  return rows;
}

export async function deleteMarks(db: Queryable, runId: string): Promise<void> {
  await db.query(`delete from reconciliation_marks where run_id = $1`, [runId]);
}
