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
const TIMESTAMPTZ = 1184;

/** Of `2026-01-31 10:00:00+00`, with up to three digits of a second: a tenth of what the parser of all forms takes. */
function time(text: string): Date {
  const fraction = text.length - 'YYYY-MM-DD HH:MM:SS.+00'.length;
  const isPlain = text[0] !== '0' && text[10] === ' ' && fraction < 4 && text.endsWith('+00');
  if (!isPlain) return anyTime(text);
  const number = (at: number): number => text.charCodeAt(at) * 10 + text.charCodeAt(at + 1) - 528;
  const year = number(0) * 100 + number(2);
  const ms = fraction > 0 ? Number(text.slice(20, 20 + fraction).padEnd(3, '0')) : 0;
  return new Date(Date.UTC(year, number(5) - 1, number(8), number(11), number(14), number(17), ms));
}
const anyTime: (text: string) => Date = pg.types.getTypeParser(TIMESTAMPTZ);

const PARSERS: Readonly<Record<number, (text: string) => unknown>> = {
  [INT8]: safeInteger,
  [NUMERIC]: safeInteger,
  [TIMESTAMPTZ]: time,
};
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) => PARSERS[oid] ?? pg.types.getTypeParser(oid, format),
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

/** Whether a statement gets an answer: what failed before is then no fault of the connection. */
export async function isReachable(pool: Pool): Promise<boolean> {
  try {
    await pool.query('select 1');
    return true;
  } catch {
    return false;
  }
}
