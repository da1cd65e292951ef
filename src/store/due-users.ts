/** Users for whom something is due. Parked ones are left out: what runs by itself leaves them alone. */
import { USER_SELECT, type UserRow } from './account-rows.ts';
import { BUCKETS } from './bucket.ts';
import type { Queryable, Transaction } from './database.ts';

/** `lapsed`: of the due ones, those whose paid plan has ended. */
export type DueKind = 'due' | 'lapsed';

const CONDITIONS: Record<DueKind, string> = {
  due: 'u.next_due_at <= $1 and u.parked_at is null',
  lapsed: 'u.next_due_at <= $1 and u.parked_at is null and u.is_subscribed and u.access_ends_at <= $1',
};

/**
 * Where there is something to do. One index probe per bucket: 1,024 of them cost about as much as one commit, and an
 * index led by the bucket is what every key of this table has.
 */
export async function listDueBuckets(db: Queryable, kind: DueKind, now: Date): Promise<number[]> {
  const { rows } = await db.query<{ bucket: number }>(
    `select bucket.bucket from generate_series(0, $2::int) bucket cross join lateral (
       select 1 from users u where u.bucket = bucket.bucket and ${CONDITIONS[kind]} limit 1) due`,
    [now, BUCKETS - 1],
  );
  return rows.map(({ bucket }) => bucket);
}

/** The longest overdue first, of all buckets. */
export async function listDueUsers(
  db: Queryable,
  kind: DueKind,
  { now, limit }: { now: Date; limit: number },
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select due.id from generate_series(0, $3::int) bucket cross join lateral (
       select u.id, u.next_due_at from users u where u.bucket = bucket.bucket and ${CONDITIONS[kind]}
       order by u.next_due_at limit $2) due
     order by due.next_due_at limit $2`,
    [now, limit, BUCKETS - 1],
  );
  return rows.map(({ id }) => id);
}

export interface DueChunk {
  kind: DueKind;
  bucket: number;
  limit: number;
  /** Users to leave out. */
  except: readonly string[];
}

/** Waits for nobody: who is locked just now is passed over. */
export async function lockDueUsers(
  tx: Transaction,
  { kind, bucket, limit, except }: DueChunk,
  now: Date,
): Promise<UserRow[]> {
  const { rows } = await tx.query<UserRow>(
    `select ${USER_SELECT} from users u where u.bucket = $2 and ${CONDITIONS[kind]} and u.id <> all($4)
     order by u.next_due_at limit $3 for no key update skip locked`,
    [now, bucket, limit, except],
  );
  return rows;
}
