/** Users for whom something is due. Parked ones are left out: what runs by itself leaves them alone. */
import { USER_SELECT, type UserRow } from './account-rows.ts';
import type { Queryable, Transaction } from './database.ts';

/** `lapsed`: of the due ones, those whose paid plan has ended. */
export type DueKind = 'due' | 'lapsed';

/** As in the functions `due_buckets` and `due_users`. */
const CONDITIONS: Record<DueKind, string> = {
  due: 'u.next_due_at <= $1 and u.parked_at is null',
  lapsed: 'u.next_due_at <= $1 and u.parked_at is null and u.is_subscribed and u.access_ends_at <= $1',
};

/** Where there is something to do. How that is found out is the database's (functions of a migration). */
export async function listDueBuckets(db: Queryable, kind: DueKind, now: Date): Promise<number[]> {
  const { rows } = await db.query<{ bucket: number }>(`select bucket from due_buckets($1, $2)`, [
    now,
    kind === 'lapsed',
  ]);
  return rows.map(({ bucket }) => bucket);
}

/** The longest overdue first, of all buckets. */
export async function listDueUsers(
  db: Queryable,
  kind: DueKind,
  { now, limit }: { now: Date; limit: number },
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(`select id from due_users($1, $2, $3)`, [
    now,
    kind === 'lapsed',
    limit,
  ]);
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
