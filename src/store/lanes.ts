/** Whose rows may be in one statement (docs/decisions/0008). */
import { bucketOf } from './bucket.ts';
import type { Queryable } from './database.ts';

/** Users of all buckets (null), or those of one bucket. */
export type Lane = number | null;

/**
 * In which lane a user is, as the database says: one PostgreSQL has all buckets in one lane, Citus a lane for each
 * bucket. It changes only while no process runs (prisma/citus.sql).
 */
export async function readLanes(db: Queryable): Promise<(userId: string) => Lane> {
  const { rows } = await db.query<{ lanes: number }>('select consume_lanes() as lanes');
  return rows[0]?.lanes === 1 ? () => null : bucketOf;
}
