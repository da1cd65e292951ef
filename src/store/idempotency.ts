/** The first answer to an Idempotency-Key, stored with its effect. Records are kept: a key never works twice. */
import { bucketOf } from './bucket.ts';
import type { Queryable } from './database.ts';

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
