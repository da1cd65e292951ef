/** Connections. node-postgres for what locks and counts, Prisma for lists and plain reads, over the same pool. */
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { PrismaClient } from '../generated/prisma/client.ts';

export type Pool = pg.Pool;
export type Transaction = pg.PoolClient;
/** What can run one statement. */
export type Queryable = Pick<pg.PoolClient, 'query'>;
export type Prisma = PrismaClient;

export interface Database {
  pool: Pool;
  db: Prisma;
  close(): Promise<void>;
}

/** int8 as a number that is exact, or an error: a silently rounded balance is worse than none. */
function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new Error(`The database holds ${text}, which is beyond 2^53.`);
  return value;
}

const INT8 = 20;
const NUMERIC = 1700;
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    oid === INT8 || oid === NUMERIC ? safeInteger : pg.types.getTypeParser(oid, format),
};

/**
 * @param onError called for a broken idle connection; without a listener node-postgres would end the process when
 *   the database restarts
 */
export function openDatabase(
  url: string,
  onError: (error: Error) => void,
  { maxConnections = 10 }: { maxConnections?: number } = {},
): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: maxConnections,
    types,
    connectionTimeoutMillis: 5_000,
    // No statement of ours takes long; one that does must not hold a user's row for ever.
    options:
      '-c statement_timeout=10000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=15000 -c synchronous_commit=on -c timezone=UTC',
  });
  pool.on('error', onError);
  const db = new PrismaClient({ adapter: new PrismaPg(pool) });
  return {
    pool,
    db,
    async close() {
      await db.$disconnect();
      await pool.end();
    },
  };
}
