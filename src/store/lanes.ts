/** Whose rows may be in one statement (docs/decisions/0008). */
import { bucketOf } from './bucket.ts';
import type { Queryable } from './database.ts';

/** Users of all buckets (null), or those of one bucket. */
export type Lane = number | null;

/**
 * Whether users of all buckets share a lane, as the database says: they do on one PostgreSQL; Citus has a lane for each
 * bucket. It changes only while no process runs (prisma/citus.sql).
 */
export async function hasOneLane(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ lanes: number }>('select consume_lanes() as lanes');
  return rows[0]?.lanes === 1;
}

/** In which lane a user is. */
export async function readLanes(db: Queryable): Promise<(userId: string) => Lane> {
  return (await hasOneLane(db)) ? () => null : bucketOf;
}
