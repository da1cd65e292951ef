/** Users for whom something is due. Parked ones are left out: what runs by itself leaves them alone. */
import { arrayOf } from './arrays.ts';
import type { Queryable, Transaction } from './database.ts';
import type { Lane } from './lanes.ts';

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
  /** Of one bucket where the database is distributed. */
  lane: Lane;
  /** Where to look, in this order. */
  buckets: readonly number[];
  limit: number;
  /** Users to leave out. */
  except: readonly string[];
}

/** Waits for nobody: who is locked just now is passed over. */
export async function lockDueUsers(
  tx: Transaction,
  { kind, lane, buckets, limit, except }: DueChunk,
  now: Date,
): Promise<string[]> {
  const dueOf = (bucket: string): string => `
    select u.id from users u where u.bucket = ${bucket} and ${CONDITIONS[kind]} and u.id <> all($4)
    order by u.next_due_at limit $3 for no key update skip locked`;
  // Row by row, so that no more are locked than are taken.
  const ofAll = `select u.* from unnest($2::smallint[]) b(bucket) cross join lateral (${dueOf('b.bucket')}) u limit $3`;
  const { rows } = await tx.query<{ id: string }>({
    name: `lock_${kind}_users_of_${lane === null ? 'all' : 'one'}`,
    text: lane === null ? ofAll : dueOf('$2'),
    values: [now, lane ?? arrayOf('smallint', buckets, (bucket) => bucket), limit, except],
  });
  return rows.map(({ id }) => id);
}
