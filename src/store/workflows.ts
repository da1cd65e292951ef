/** Work that the seed routes have started and paid for. */
import { bucketOf } from './bucket.ts';
import type { Queryable, Transaction } from './database.ts';
import { bucketOfRowId } from './ids.ts';
import type { Lane } from './lanes.ts';
import { type OfUser, RowSetStatement } from './row-sets.ts';

export type WorkflowStatus = 'pending' | 'running' | 'succeeded' | 'failed';

export interface Workflow {
  id: string;
  userId: string;
  kind: string;
  input: Record<string, unknown>;
  status: WorkflowStatus;
  result: Record<string, unknown> | null;
  error: string | null;
  entrySeq: number;
  attempts: number;
  createdAt: Date;
  finishedAt: Date | null;
}

const SELECT = `select id, user_id as "userId", kind, input, status, result, error, entry_seq as "entrySeq", attempts,
  created_at as "createdAt", finished_at as "finishedAt" from workflows`;

export type NewWorkflow = Pick<Workflow, 'id' | 'kind' | 'input' | 'entrySeq' | 'createdAt'>;

const INSERT_WORKFLOWS = new RowSetStatement<keyof NewWorkflow>(
  'insert_workflows',
  { id: 'text', kind: 'text', input: 'jsonb', entrySeq: 'bigint', createdAt: 'timestamptz' },
  ({ rows, bucket }) => `insert into workflows (bucket, user_id, id, kind, input, entry_seq, created_at)
    select ${bucket}, user_id, id, kind, input, entry_seq, created_at from ${rows}`,
);

export function insertWorkflows(
  tx: Transaction,
  lane: Lane,
  workflows: readonly OfUser<NewWorkflow>[],
): Promise<void> {
  return INSERT_WORKFLOWS.write(tx, lane, workflows);
}

export async function findWorkflow(db: Queryable, id: string): Promise<Workflow | undefined> {
  const bucket = bucketOfRowId('wf', id);
  if (bucket === undefined) return undefined;
  const { rows } = await db.query<Workflow>(`${SELECT} where bucket = $1 and id = $2`, [bucket, id]);
  return rows[0];
}

/** Marks a run as begun; false where the work has already ended. */
export async function beginWorkflow(db: Queryable, workflow: Workflow): Promise<boolean> {
  const { rowCount } = await db.query(
    `update workflows set status = 'running', attempts = attempts + 1
     where bucket = $1 and id = $2 and status in ('pending', 'running')`,
    [bucketOf(workflow.userId), workflow.id],
  );
  return rowCount === 1;
}

/** Ends a run once; false where it had ended before. */
export async function finishWorkflow(
  tx: Queryable,
  workflow: Workflow,
  end: {
    status: 'succeeded' | 'failed';
    result: Record<string, unknown> | null;
    error: string | null;
    now: Date;
  },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update workflows set status = $3, result = $4, error = $5, finished_at = $6
     where bucket = $1 and id = $2 and status in ('pending', 'running')`,
    [
      bucketOf(workflow.userId),
      workflow.id,
      end.status,
      end.result === null ? null : JSON.stringify(end.result),
      end.error,
      end.now,
    ],
  );
  return rowCount === 1;
}

/** Unfinished work that is older than `before`: its job may have been lost between commit and queue. */
export async function listUnfinishedWorkflows(
  db: Queryable,
  { before, limit }: { before: Date; limit: number },
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from workflows where status in ('pending', 'running') and created_at < $1 order by created_at limit $2`,
    [before, limit],
  );
  return rows.map(({ id }) => id);
}
