/** The first answer to an Idempotency-Key, stored with its effect. Records are kept: a key never works twice. */
import { bucketOf } from './bucket.ts';
import type { Queryable, Transaction } from './database.ts';
import type { Lane } from './lanes.ts';
import { type OfUser, RowSetStatement } from './row-sets.ts';

export interface RecordKey {
  userId: string;
  /** Principal kind and route. */
  scope: string;
  key: string;
}

export interface StoredAnswer {
  requestHash: Buffer;
  /** Null while the first request is under way. */
  status: number | null;
  body: Record<string, unknown> | null;
}

const identity = ({ userId, scope, key }: RecordKey): [number, string, string, string] => [
  bucketOf(userId),
  userId,
  scope,
  key,
];

export async function findAnswer(tx: Queryable, record: RecordKey): Promise<StoredAnswer | undefined> {
  const { rows } = await tx.query<StoredAnswer>(
    `select request_hash as "requestHash", status, body from idempotency_records
     where bucket = $1 and user_id = $2 and scope = $3 and key = $4`,
    identity(record),
  );
  return rows[0];
}

export type AnswerKey = Omit<RecordKey, 'userId'>;

const ANSWERS = new RowSetStatement(
  'answers',
  { scope: 'text', key: 'text' },
  ({
    rows,
    bucket,
  }) => `select r.user_id as "userId", r.scope, r.key, a.request_hash as "requestHash", a.status, a.body
    from ${rows} join idempotency_records a
      on a.bucket = ${bucket} and a.user_id = r.user_id and a.scope = r.scope and a.key = r.key`,
);

/** Those that are not there are left out. */
export async function findAnswers(
  tx: Transaction,
  lane: Lane,
  wanted: readonly OfUser<AnswerKey>[],
): Promise<OfUser<AnswerKey & StoredAnswer>[]> {
  const rows = await ANSWERS.read<RecordKey & StoredAnswer>(tx, lane, wanted);
  return rows.map(({ userId, ...row }) => ({ userId, row }));
}

export type NewAnswer = AnswerKey & StoredAnswer & { createdAt: Date };

/** A body goes out as text: the column is json, and jsonb would put the fields into another order. */
const STORE_ANSWERS = new RowSetStatement(
  'store_answers',
  {
    scope: 'text',
    key: 'text',
    requestHash: 'bytea',
    status: 'smallint',
    body: 'text',
    createdAt: 'timestamptz',
  },
  ({ rows, bucket }) => `insert into idempotency_records
      (bucket, user_id, scope, key, request_hash, status, body, created_at)
    select ${bucket}, user_id, scope, key, request_hash, status, body::json, created_at from ${rows}
    on conflict (bucket, user_id, scope, key) do update
      set status = excluded.status, body = excluded.body, lease_until = null`,
);

/** Stores answers in the transaction of their effects. */
export function storeAnswers(
  tx: Transaction,
  lane: Lane,
  answers: readonly OfUser<NewAnswer>[],
): Promise<void> {
  const rows = answers.map(({ userId, row }) => ({
    userId,
    row: { ...row, body: JSON.stringify(row.body) },
  }));
  return STORE_ANSWERS.write(tx, lane, rows);
}

/** Stores an answer in the transaction of its effect. */
export async function storeAnswer(
  tx: Queryable,
  record: RecordKey,
  answer: StoredAnswer,
  now: Date,
): Promise<void> {
  await tx.query(
    `insert into idempotency_records (bucket, user_id, scope, key, request_hash, status, body, created_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8)
     on conflict (bucket, user_id, scope, key) do update
       set status = excluded.status, body = excluded.body, lease_until = null`,
    [...identity(record), answer.requestHash, answer.status, JSON.stringify(answer.body), now],
  );
}

/**
 * Claims a key for work that cannot share a transaction with its effect (a call to Stripe).
 * @returns false where another request holds it or has finished it
 */
export async function claimKey(
  db: Queryable,
  record: RecordKey,
  requestHash: Buffer,
  { now, leaseUntil }: { now: Date; leaseUntil: Date },
): Promise<boolean> {
  const { rowCount } = await db.query(
    `insert into idempotency_records (bucket, user_id, scope, key, request_hash, lease_until, created_at)
     values ($1, $2, $3, $4, $5, $6, $7)
     on conflict (bucket, user_id, scope, key) do update set lease_until = excluded.lease_until
       where idempotency_records.status is null and idempotency_records.lease_until < $7
         and idempotency_records.request_hash = excluded.request_hash`,
    [...identity(record), requestHash, leaseUntil, now],
  );
  return rowCount === 1;
}

/** Gives an unfinished key back, so that the next try may claim it at once. */
export async function releaseKey(db: Queryable, record: RecordKey): Promise<void> {
  await db.query(
    `delete from idempotency_records
     where bucket = $1 and user_id = $2 and scope = $3 and key = $4 and status is null`,
    identity(record),
  );
}
